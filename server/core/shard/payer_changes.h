// PayerChanges: blocks that somebody else pays for from here on.
//
// Purpose: a block is paid for by the session that it was allocated for. Two things change that. An
//   Acquire makes the new holder pay. The end of a session, or its detach, makes the heir of its
//   user pay for what the session has left with others. The shard whose heap owns the block knows
//   who pays, so the others send it messages.
// Invariants: the new holder is charged before the message is sent. The message either moves the
//   payment, or gives the charge back because the holder has the block no more.
// Threads: each instance belongs to one shard's thread; the messages go through inboxes.
// Crash: private memory of the daemon; see account.h.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "allocator/arena/footprint.h"
#include "server/core/shard/inbox.h"
#include "server/core/shard/shard_account.h"
#include "server/core/shard/shard_tables.h"
#include "server/core/shard/shared_state.h"

namespace arenad::server {

class PayerChanges {
 public:
  struct Taken {
    Ref ref;
    std::uint64_t charged_bytes;
  };
  // What one call has taken over for one session.
  class Batch {
   public:
    explicit Batch(SessionId to) : to_(to) {}
    // `owner` is the shard's heap that owns the block.
    void add(HeapId owner, Ref ref, std::uint64_t charged_bytes) {
      by_owner_[owner].push_back({ref, charged_bytes});
    }

   private:
    friend class PayerChanges;
    SessionId to_;
    std::map<HeapId, std::vector<Taken>> by_owner_;
  };

  // Other shards find this instance in `shared`.
  PayerChanges(ShardId shard, ShardTables& tables, ShardAccount& account, Inbox& inbox,
               SharedState& shared);
  PayerChanges(const PayerChanges&) = delete;
  PayerChanges& operator=(const PayerChanges&) = delete;

  // The session of the batch pays for these blocks of the arena.
  void send(ArenaSlot& slot, Batch batch);
  // `to` pays for what `from` pays for in this shard's slabs in `where`. In steps, so that the
  // shard answers calls in between. `done` runs on the shard's thread.
  void pass_on(std::shared_ptr<ArenaState> state, std::shared_ptr<const Footprint> where,
               SessionId from, SessionId to, std::function<void()> done);

 private:
  struct Passing;
  void taken_over(const std::shared_ptr<ArenaState>& state, SessionId to,
                  const std::vector<Taken>& blocks);
  void step(const std::shared_ptr<Passing>& passing);
  // Null when the arena was deleted meanwhile.
  ArenaSlot* slot_of(const ArenaState& state);

  const ShardId shard_;
  ShardTables& tables_;
  ShardAccount& account_;
  Inbox& inbox_;
  SharedState& shared_;
};

}  // namespace arenad::server
