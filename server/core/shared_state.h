// What shards, control thread and maintenance thread see of each other: atomics, and one interface.
//
// Purpose: ArenaState (an arena and who waits for memory in it), ServerTunables, SessionBytes, and ControlLink, by which a
//   shard asks the control thread for something.
// Invariants: a shard never waits for another thread through any of these.
// Threads: atomics by any; ControlLink's calls by any shard thread.
// Crash: private memory of the daemon.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "allocator/arena.h"

namespace arenad::server {

// One living arena. Shared, so that a deletion frees the memory only when the last thread has let go of it.
struct ArenaState {
  explicit ArenaState(std::unique_ptr<Arena> a) : arena(std::move(a)) {}
  const std::unique_ptr<Arena> arena;
  // Allocations parked on any shard. A shard that gives memory back while it is not 0 tells the control thread. Relaxed:
  // a missed moment is made good by the waiter's own timer.
  std::atomic<std::uint32_t> waiting{0};
};

// The server's knobs, as GetTunables names them. Relaxed everywhere: a change is seen soon.
struct ServerTunables {
  std::atomic<std::uint64_t> idle_drain_ms{100};
  std::atomic<std::uint64_t> spin_us{0};
  std::atomic<std::uint64_t> keepalive_grace_ms{750};   // with the reap within a second of a death before the handoff
  std::atomic<std::uint64_t> drain_deadline_ms{5000};
  std::atomic<std::uint64_t> commit_ahead_superslabs{4};
  std::atomic<std::uint64_t> keep_empty_superslabs{8};
};

// Bytes (strides) that each session holds, over all shards and arenas; kept only when there is a limit.
class SessionBytes {
 public:
  explicit SessionBytes(std::uint64_t limit_bytes)
      : limit_(limit_bytes), held_(limit_bytes == 0 ? nullptr : new std::atomic<std::int64_t>[65536]()) {}
  std::uint64_t limit() const { return limit_; }
  std::uint64_t held(std::uint16_t session) const {
    return held_ == nullptr ? 0 : static_cast<std::uint64_t>(held_[session].load(std::memory_order_relaxed));
  }
  // False when the session would get over its limit; nothing is reserved then.
  bool reserve(std::uint16_t session, std::uint64_t bytes) {
    if (held_ == nullptr) return true;
    const auto before = held_[session].fetch_add(static_cast<std::int64_t>(bytes), std::memory_order_relaxed);
    if (static_cast<std::uint64_t>(before) + bytes <= limit_) return true;
    give_back(session, bytes);
    return false;
  }
  void give_back(std::uint16_t session, std::uint64_t bytes) {
    if (held_ != nullptr) held_[session].fetch_sub(static_cast<std::int64_t>(bytes), std::memory_order_relaxed);
  }
  void reset(std::uint16_t session) {
    if (held_ != nullptr) held_[session].store(0, std::memory_order_relaxed);
  }

 private:
  const std::uint64_t limit_;
  const std::unique_ptr<std::atomic<std::int64_t>[]> held_;
};

// What a shard tells the control thread. None of them blocks or takes a lock.
class ControlLink {
 public:
  virtual ~ControlLink() = default;
  // An allocation was parked under `ticket`: make every shard trim the arena, then call Shard::memory_round with it.
  virtual void need_memory(std::uint16_t arena_id, std::uint32_t shard, std::uint64_t ticket) = 0;
  // Blocks of an arena in which somebody waits were freed.
  virtual void memory_returned(std::uint16_t arena_id) = 0;
  // Slabs were taken: commit ahead soon.
  virtual void kick_maintenance() = 0;
};

// All of it, as every shard gets it.
struct SharedState {
  ServerTunables tunables;
  SessionBytes session_bytes;
  ControlLink* control = nullptr;   // set before any shard runs
  explicit SharedState(std::uint64_t session_limit_bytes) : session_bytes(session_limit_bytes) {}
};

}  // namespace arenad::server
