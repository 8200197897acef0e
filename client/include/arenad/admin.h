// Admin: what the daemon looks like inside, and its tunables.
//
// Purpose: sessions, statistics, slab usage, holders, audit and tunables, as plain values. arenactl
//   shows these values.
// Invariants: a counter only grows while the arena, or the daemon, lives. A value that is true for
//   this moment only is marked "now".
// Threads: any thread, at the same time. Calls block until the answer or the call timeout.
// Crash: only set_tunables changes anything. It changes all values or none.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "arenad/allocator/base/export.h"
#include "arenad/allocator/heap/counters.h"
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
    // Of slabs that a peer leases. held_bytes counts the blocks in them that the peer holds, too.
    std::uint64_t leased_bytes = 0;
  };
  SessionId id;
  std::string name;
  // As the daemon sees it. 0: not bound to a process, or the daemon does not see the process.
  std::int32_t pid = 0;
  std::uint32_t uid = 0;   // of a bound session
  bool bound = false;      // to the life of its process
  bool keepalive = false;  // its KeepAlive stream is open
  std::string state;       // "live" or "reaping"
  std::uint64_t age_ms = 0;
  std::uint64_t limit_bytes = 0;    // the most that it may hold and lease; 0: no limit
  std::uint64_t reserve_bytes = 0;  // memory of the host that is set aside for it; 0: none
  std::vector<Attached> attachments;
};

struct ShardStats {
  ShardId shard;
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
  std::uint64_t sessions_reaped = 0;  // that ended without a close
  std::uint64_t committed_bytes = 0;  // now
  std::uint64_t capacity_bytes = 0;   // now
  std::uint64_t held_blocks = 0;      // now
  std::uint64_t held_bytes = 0;       // now, sum of strides
  std::uint64_t uptime_ms = 0;
  std::uint64_t leased_slabs = 0;  // now, to peers, spans included
  std::uint64_t leased_bytes = 0;  // now, to peers
  // Of the whole daemon, whatever the arena: what sessions have reserved, and what they do not use
  // of it now.
  std::uint64_t reserved_bytes = 0, set_aside_bytes = 0;
};

// One size class of one arena, on one shard or in all peers. All values are now.
struct SlabUsage {
  std::string arena;
  ShardId shard;
  // The row is of all peers: `shard` has no meaning, and free blocks of peers' heaps count as
  // cached.
  bool peers = false;
  ClassId size_class;  // kSpanClass: spans
  std::uint64_t usable_bytes = 0, stride_bytes = 0, blocks_per_slab = 0, slab_bytes = 0,
                active_blocks = 0, total_blocks = 0, cached_blocks = 0, free_blocks = 0,
                uncarved_blocks = 0, active_slabs = 0, total_slabs = 0;
};

// What one session holds under one tag.
struct HolderShare {
  SessionId session;
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

// In an exact arena held + shared + returning + cached + free + uncarved == capacity_blocks.
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
  std::uint64_t leased_slabs = 0;  // part of `slabs`: leased to peers
};

struct AuditReport {
  std::vector<ArenaAudit> arenas;
  bool exact = false;
  std::uint64_t p0_counter_mismatch = 0;
  std::uint64_t p0_counter_ok = 0;
};

struct TrimResult {
  std::uint64_t committed_bytes_before = 0;
  std::uint64_t committed_bytes = 0;
};

struct SessionLimit {
  std::uint64_t limit_bytes = 0;    // in force; 0: none
  std::uint64_t charged_bytes = 0;  // blocks that it was given and that are not free, and leases
};

struct Tunable {
  std::string name, value, default_value, description;
};

class ARENAD_API Admin {
 public:
  explicit Admin(const Client& client) : client_(client) {}

  // An empty `arena` means all arenas. Errors of a named one: UNKNOWN_ARENA.

  // All sessions, in order of id.
  Answer<std::vector<SessionInfo>> sessions() const;
  // Ends a session of anybody although its process lives, and takes back all that it held. Its
  // calls answer EVICTED from then on, and what its process has mapped is worthless. Waits up to a
  // second for the client to stop. Errors: NOT_PERMITTED, UNKNOWN_SESSION (also when it is ending).
  Answer<GivenBack> evict(SessionId session) const;
  // Changes what a living session may hold or lease. 0, or more than the daemon's limit: the
  // daemon's limit. A session above its new limit keeps what it has, and gets nothing before it is
  // below. Errors: NOT_PERMITTED, UNKNOWN_SESSION.
  Answer<SessionLimit> limit_session(SessionId session, std::uint64_t limit_bytes) const;
  // Peers, shards and the arena give memory that nobody uses back to the system. Errors:
  // NOT_PERMITTED.
  Answer<TrimResult> trim(std::string_view arena = {}) const;
  // Of all arenas: the sum.
  Answer<Stats> stats(std::string_view arena = {}) const;
  Answer<std::vector<SlabUsage>> slab_info(std::string_view arena = {}) const;
  // The largest holders of one arena, at most `limit` rows.
  Answer<Holders> holders(std::string_view arena, std::uint32_t limit = 100) const;
  // Stops all shards while it scans. A report that is not exact is an answer, not an error.
  Answer<AuditReport> audit(std::string_view arena = {}) const;
  Answer<std::vector<Tunable>> tunables() const;
  // Changes all named tunables or none, at once. Answers with all tunables. Errors: INVALID_OPTION.
  Answer<std::vector<Tunable>> set_tunables(
      const std::vector<std::pair<std::string, std::string>>& values) const;

 private:
  Client client_;
};

}  // namespace arenad::client
