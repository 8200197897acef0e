// AllocateCall: how a shard allocates blocks for a session.
//
// Purpose: one of the two kinds of call that need memory; WaitQueue runs both. See lease_grant.h.
// Invariants: an allocation is all or nothing. A session is charged before the heap is asked.
// Threads: the shard's own.
// Crash: a block that was allocated and not answered is reaped with its session.
#pragma once

#include <string>
#include <vector>

#include "server/core/api/data_plane.h"
#include "server/core/shard/parked_call.h"
#include "server/core/shard/shard_account.h"
#include "server/core/shard/shard_tables.h"
#include "server/core/shard/turn.h"

namespace arenad::server {

class AllocateCall {
 public:
  using Args = AllocateArgs;
  using Out = AllocatedBlocks;
  static constexpr Need kNeed = Need::kChange;

  AllocateCall(ShardTables& tables, ShardAccount& account, Turn& turn)
      : tables_(tables), account_(account), turn_(turn) {}

  // What is wrong with the request whatever the memory; error kNone when nothing is.
  Failure check(const Args& args, const ArenaSlot& slot) const;
  // Errors: those of Heap::allocate_batch; kQuotaSession, kQuotaUser.
  Error attempt(const Access& access, const Args& args, Out& out);
  // An error of attempt, with the particulars.
  Failure refusal(Error e, const Args& args, const ArenaSlot& slot) const;
  // The memory that the call may need beside what the shard's heap has.
  static CommitNeed need(const Args& args, const ArenaSlot& slot);
  // "3 blocks of 64 bytes"
  static std::string asked_for(const Args& args);

 private:
  Error attempt_sizes(const Access& access, const Args& args, Out& out);
  static Error allocate_each(ArenaSlot& slot, const AllocateArgs& args, AllocatedBlocks& out);
  void gave(const Access& access, const Out& out, std::uint64_t bytes);

  ShardTables& tables_;
  ShardAccount& account_;
  Turn& turn_;
};

}  // namespace arenad::server
