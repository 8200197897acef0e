// Admin: what the daemon looks like inside, and its knobs.
//
// Purpose: sessions, statistics, slab usage, holders, audit and tunables, as plain values. arenactl
// shows what this gives. Invariants: counters only grow while the arena, or the daemon, lives; what
// is "now" says so. Threads: any thread, at once. Calls block until the answer or the call's
// timeout. Crash: nothing is changed but by set_tunables, which changes all or none.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "allocator/heap/counters.h"
#include "arenad/client.h"
#include "arenad/types.h"

namespace arenad::client {

using arenad::HeapCounters;  // one member for each row of ARENAD_HEAP_COUNTERS

struct SessionInfo {
  struct Attached {
    std::string arena;
    AttachMode mode = AttachMode::kRemote;
    std::uint64_t held_blocks = 0;
    std::uint64_t held_bytes = 0;  // sum of strides
    std::uint64_t leased_bytes =
        0;  // of slabs that a peer leases; blocks that it holds in them are counted above, too
  };
  std::uint32_t id = 0;
  std::string name;
  std::int32_t pid =
      0;  // as the daemon sees it; 0 when not bound to a process, or not visible from there
  std::uint32_t uid = 0;  // when bound
  bool bound = false;
  bool keepalive = false;  // its KeepAlive stream is open
  std::string state;       // "live" or "reaping"
  std::uint64_t age_ms = 0;
  std::uint64_t limit_bytes = 0;  // most that it may hold or lease; 0: no limit
  std::vector<Attached> attachments;
};

struct ShardStats {
  std::uint32_t shard = 0;
  HeapCounters heap;
  std::uint64_t calls = 0;                     // unary calls and stream messages served
  std::vector<std::uint64_t> remote_frees_to;  // by index of the owning shard
  std::uint64_t loop_turns = 0;
  std::uint64_t inbox_messages = 0;
  std::uint64_t idle_drains = 0;
};

struct Stats {
  std::vector<ShardStats> shards;
  std::uint64_t arenas = 0;           // now
  std::uint64_t sessions = 0;         // now
  std::uint64_t sessions_reaped = 0;  // ended other than by close
  std::uint64_t committed_bytes = 0;  // now
  std::uint64_t capacity_bytes = 0;   // now
  std::uint64_t held_blocks = 0;      // now
  std::uint64_t held_bytes = 0;       // now, sum of strides
  std::uint64_t uptime_ms = 0;
  std::uint64_t leased_slabs = 0;  // now, to peers: slabs and spans
  std::uint64_t leased_bytes = 0;  // now, to peers
};

struct SlabUsage {  // one size class of one arena on one shard, or in all peers; all of them now
  std::string arena;
  std::uint32_t shard = 0;
  bool peers = false;  // leased to peers: shard means nothing, and what is free in their heaps
                       // counts as cached
  std::uint32_t size_class = 0;  // 255: spans
  std::uint64_t usable_bytes = 0, stride_bytes = 0, blocks_per_slab = 0, slab_bytes = 0,
                active_blocks = 0, total_blocks = 0, cached_blocks = 0, free_blocks = 0,
                uncarved_blocks = 0, active_slabs = 0, total_slabs = 0;
};

struct HolderShare {
  std::uint32_t session = 0;
  std::string session_name;
  std::uint32_t tag = 0;
  std::uint64_t blocks = 0;
  std::uint64_t bytes = 0;  // sum of strides
};

struct Holders {
  std::vector<HolderShare> rows;  // largest first
  std::uint64_t total_blocks = 0;
  std::uint64_t total_bytes = 0;
};

// held + shared + returning + cached + free + uncarved == capacity_blocks on an exact arena.
struct ArenaAudit {
  std::string arena;
  std::uint64_t slabs = 0, capacity_blocks = 0, held = 0, shared = 0, returning = 0, cached = 0,
                free = 0, uncarved = 0;
  std::uint64_t held_bytes = 0;       // sum of strides
  std::uint64_t counted_held = 0;     // allocs - frees, from the counters
  std::uint64_t mismatches = 0;       // facts that do not agree
  std::vector<std::string> findings;  // one line each, the first 100
  bool exact = false;
  std::uint64_t scan_us = 0;       // how long the shards stood still
  std::uint64_t leased_slabs = 0;  // of slabs: in peers' hands
};

struct AuditReport {
  std::vector<ArenaAudit> arenas;
  bool exact = false;
  std::uint64_t p0_counter_mismatch = 0;
  std::uint64_t p0_counter_ok = 0;
};

struct Tunable {
  std::string name, value, default_value, description;
};

class Admin {
 public:
  explicit Admin(const Client& client) : client_(client) {}

  Answer<std::vector<SessionInfo>> sessions() const;  // all of them, in order of id
  Answer<Stats> stats(
      std::string_view arena = {}) const;  // empty: all arenas added up. UNKNOWN_ARENA
  Answer<std::vector<SlabUsage>> slab_info(
      std::string_view arena = {}) const;  // empty: all arenas. UNKNOWN_ARENA
  Answer<Holders> holders(std::string_view arena,
                          std::uint32_t limit = 100) const;  // limit: rows. UNKNOWN_ARENA
  // Stops all shards for the length of the scan. Empty: all arenas. An inexact report is an answer,
  // not an error.
  Answer<AuditReport> audit(std::string_view arena = {}) const;
  Answer<std::vector<Tunable>> tunables() const;
  // Changes all of them or none, live; answers with all tunables. INVALID_OPTION.
  Answer<std::vector<Tunable>> set_tunables(
      const std::vector<std::pair<std::string, std::string>>& values) const;

 private:
  Client client_;
};

}  // namespace arenad::client
