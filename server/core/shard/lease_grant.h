// LeaseGrant: what a shard grants to a peer, heap ids and slabs.
//
// Purpose: a lease of slabs is the second kind of call that needs memory, beside AllocateCall.
//   WaitQueue runs both. LeaseReturns takes slabs back.
// Invariants: the ledger says to whom a run is leased, from the grant on. One slab is enough for an
//   answer: a lease may bring fewer slabs than were asked for.
// Threads: the shard's own.
// Crash: a run that was granted and not answered is the session's; Resume or the session's end
//   takes the run back.
#pragma once

#include <string>
#include <vector>

#include "server/core/api/data_plane.h"
#include "server/core/shard/parked_call.h"
#include "server/core/shard/shard_account.h"
#include "server/core/shard/shard_tables.h"
#include "server/core/shard/shared_state.h"
#include "server/core/shard/turn.h"

namespace arenad::server {

class LeaseGrant {
 public:
  using Args = LeaseArgs;
  using Out = LeasedSlabs;
  static constexpr Need kNeed = Need::kPeer;

  LeaseGrant(ShardTables& tables, ShardAccount& account, Turn& turn, const SharedState& shared)
      : tables_(tables), account_(account), turn_(turn), shared_(shared) {}

  // See ShardApi for the contract.
  Answer<HeapId> open_heap(const LeaseCaller& caller);

  // What is wrong with the request whatever the memory; error kNone when nothing is.
  Failure check(const Args& args, const ArenaSlot& slot) const;
  // Errors: those of Arena::grant; kQuotaSession, kQuotaUser, kStaleEpoch.
  Error attempt(const Access& access, const Args& args, Out& out);
  // An error of attempt, with the particulars.
  Failure refusal(Error e, const Args& args, const ArenaSlot& slot) const;
  // The runs that one answer may bring.
  static CommitNeed need(const Args& args, const ArenaSlot& slot);
  // "3 slabs of size class 5 for a peer"
  static std::string asked_for(const Args& args);

 private:
  // Heaps that the sessions of the user have in the arena.
  std::uint32_t heaps_of(Arena& arena, std::uint32_t uid);

  ShardTables& tables_;
  ShardAccount& account_;
  Turn& turn_;
  const SharedState& shared_;
};

}  // namespace arenad::server
