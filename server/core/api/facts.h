// Facts: what the control plane says about arenas, sessions, shards and holders.
//
// Threads: plain values, copies of one moment. Crash: nothing is shared.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "allocator/check/verify.h"
#include "allocator/format/debug_flags.h"
#include "allocator/heap/class_usage.h"
#include "allocator/heap/counters.h"
#include "server/core/api/common.h"

namespace arenad::server {

struct ArenaAccess {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t mode = 0660;
};

struct ArenaFacts {
  ArenaId id;
  std::string name;
  std::uint64_t capacity_bytes = 0;
  bool holder_only = false;
  bool pinned = false;
  bool zero = false;
  bool scrub = false;
  bool huge_pages = false;            // asked for
  std::uint64_t huge_page_bytes = 0;  // of the committed bytes
  std::string huge_page_fallback;     // why some are in small pages; else empty
  std::string numa;                   // asked for: NumaPolicy::text
  std::string numa_fallback;          // why that has no effect; else empty
  DebugFlags debug;
  std::uint64_t debug_findings = 0;  // peers can forge it
  bool locked = false;  // now; whoever asked for a lock may not have it after a restart
  ArenaAccess access;
  std::uint64_t committed_bytes = 0;
  std::uint64_t held_bytes = 0;
  std::uint64_t held_blocks = 0;
  std::uint32_t sessions = 0;
  bool quarantined = false;
  std::string quarantine_reason;
};

struct AttachmentFacts {
  std::string arena;
  AttachMode mode = AttachMode::kNone;
  std::uint64_t held_blocks = 0;
  std::uint64_t held_bytes = 0;
  std::uint64_t leased_bytes = 0;
};

struct SessionFacts {
  SessionId id;
  std::string name;
  std::int32_t pid = 0;
  std::uint32_t uid = 0;
  bool bound = false;
  bool keepalive = false;
  bool reaping = false;
  std::uint64_t age_ms = 0;
  std::uint64_t limit_bytes = 0;  // 0: none
  std::uint64_t reserve_bytes = 0;
  std::vector<AttachmentFacts> attachments;
};

struct ShardFacts {
  ShardId shard;
  HeapCounters heap;
  std::uint64_t calls = 0;
  std::vector<std::uint64_t> remote_frees_to;  // by owning shard
  std::uint64_t loop_turns = 0;
  std::uint64_t inbox_messages = 0;
  std::uint64_t idle_drains = 0;
};

struct TrimFacts {
  std::uint64_t committed_bytes_before = 0;
  std::uint64_t committed_bytes = 0;
};

struct SessionLimitFacts {
  std::uint64_t limit_bytes = 0;    // in force; 0: none
  std::uint64_t charged_bytes = 0;  // 0 for a session without a limit
};

struct DaemonStats {
  std::vector<ShardFacts> shards;
  std::uint64_t arenas = 0;
  std::uint64_t sessions = 0;
  std::uint64_t sessions_reaped = 0;
  std::uint64_t committed_bytes = 0;
  std::uint64_t capacity_bytes = 0;
  std::uint64_t held_blocks = 0;
  std::uint64_t held_bytes = 0;
  std::uint64_t leased_slabs = 0;  // to peers; runs
  std::uint64_t leased_bytes = 0;
  // Of the whole daemon, whatever the arena.
  std::uint64_t reserved_bytes = 0;   // by sessions
  std::uint64_t set_aside_bytes = 0;  // of them, what their sessions do not use
  std::uint64_t uptime_ms = 0;
};

struct SlabInfoRow {
  std::string arena;
  bool peers = false;  // leased to peers, whose heaps are their own; shard is 0 then
  ShardId shard;
  ClassUsage usage;
  std::uint64_t usable_bytes = 0;
  std::uint64_t stride_bytes = 0;
  std::uint64_t blocks_per_slab = 0;
  std::uint64_t slab_bytes = 0;
};

struct HolderRow {
  SessionId session;
  std::string session_name;
  std::uint32_t tag = 0;
  std::uint64_t blocks = 0;
  std::uint64_t bytes = 0;
};

struct Holders {
  std::vector<HolderRow> rows;  // largest first, at most `limit`
  std::uint64_t total_blocks = 0;
  std::uint64_t total_bytes = 0;
};

struct AuditedArena {
  std::string arena;
  VerifyReport report;
  std::uint64_t scan_us = 0;
};

struct AuditResult {
  std::vector<AuditedArena> arenas;
  std::uint64_t p0_counter_ok = 0;
  std::uint64_t p0_counter_mismatch = 0;
  bool exact = true;
};

struct TunableFacts {
  std::string name, value, default_value, description;
};

}  // namespace arenad::server
