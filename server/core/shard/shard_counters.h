// ShardCounters: what a shard says about itself when the control thread asks.
//
// Purpose: counts the loop's turns, calls and messages, and adds up the counters of the shard's
//   heaps.
// Invariants: the daemon's counters never fall: a deleted arena's are added to `retired`.
// Threads: the shard's own. Crash: private.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "server/core/api/facts.h"
#include "server/core/shard/shard_tables.h"

namespace arenad::server {

using UsageByArena = std::vector<std::pair<ArenaId, ClassUsage>>;

class ShardCounters {
 public:
  ShardCounters(ShardId shard, std::uint32_t shard_count, ShardTables& tables);

  void count_call() { ++calls_; }
  void count_turn() { ++turns_; }
  void count_messages(std::uint64_t messages) { messages_ += messages; }
  // A heap ends with its arena.
  void retire(const Heap& heap) { add(heap, retired_); }

  // kAllArenas: deleted arenas are in it. `idle_drains` comes from the shard's IdleDrain.
  ShardFacts facts(ArenaId scope, std::uint64_t idle_drains) const;
  // The size classes of the shard's heaps.
  UsageByArena usage(ArenaId scope) const;
  // Blocks held as this shard counted them. Arenas that count from the words are left out.
  HeldShare held(ArenaId scope) const;
  SharesBySession held_by_session(ArenaId arena_id) const;
  SharesByArena held_by_arena(SessionId session) const;

 private:
  void add(const Heap& heap, ShardFacts& facts) const;

  const ShardId shard_;
  const std::uint32_t shard_count_;
  ShardTables& tables_;
  std::uint64_t calls_ = 0;
  std::uint64_t turns_ = 0;
  std::uint64_t messages_ = 0;
  ShardFacts retired_;
};

}  // namespace arenad::server
