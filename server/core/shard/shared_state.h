// What shards, control thread and maintenance thread see of each other: atomics, and one interface.
//
// Purpose: ArenaState (an arena and who waits for memory in it), SessionBytes, and
// ControlLink, by which a
//   shard asks the control thread for something.
// Invariants: a shard never waits for another thread through any of these.
// Threads: atomics by any; ControlLink's calls by any shard thread.
// Crash: private memory of the daemon.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

#include "allocator/arena/arena.h"
#include "allocator/base/zeroed_array.h"
#include "server/core/api/tunables.h"
#include "server/core/state/bus_guard.h"

namespace arenad::server {

// One living arena. Shared, so that a deletion frees the memory only when the last thread has let
// go of it.
struct ArenaState {
  // `in_files`: others can cut them short (see bus_guard.h).
  explicit ArenaState(std::unique_ptr<Arena> a, bool in_files = false) : arena(std::move(a)) {
    if (!in_files) return;
    control_guard.emplace(arena->control().base(), arena->control_bytes(), arena->control_fd(),
                          file_lost);
    ledger_guard.emplace(arena->ledger().base(), arena->ledger().bytes(), -1, file_lost);
    if (arena->data() != nullptr)
      data_guard.emplace(arena->data(), arena->capacity_bytes(), arena->data_fd(), file_lost);
  }
  // Quarantines an arena of which a file was cut short. True when it was just found.
  bool check_files() {
    if (!file_lost.load(std::memory_order_acquire) ||
        file_loss_told.exchange(true, std::memory_order_relaxed))
      return false;
    arena->quarantine("one of its files was cut short or lost its memory while it was in use");
    return true;
  }

  const std::unique_ptr<Arena> arena;
  std::atomic<bool> file_lost{false};  // set by the guards
  std::atomic<bool> file_loss_told{false};
  std::optional<BusGuard> control_guard, ledger_guard,
      data_guard;  // end before the arena's mappings
  // Allocations parked on any shard. A shard that gives memory back while it is not 0 tells the
  // control thread. Relaxed: a missed moment is made good by the waiter's own timer.
  std::atomic<std::uint32_t> waiting{0};
  // A peer is or was attached, or blocks were shared: blocks change hands without a call, so who
  // holds what is read from the words and not from what shards counted. Set before that can happen,
  // never cleared. Relaxed: the message that lets a session act comes after it.
  std::atomic<bool> counts_from_words{false};
};

// Bytes that each session is charged for, over all shards and arenas: its leases whole, and the
// strides of the blocks that it holds elsewhere. Kept for sessions with a limit. Of a session in an
// arena with peers the count only says so much (blocks change hands there without a call): it is
// counted anew before the session is refused.
class SessionBytes {
 public:
  explicit SessionBytes(std::uint64_t limit_bytes) : most_(limit_bytes), sessions_(65536) {}
  // Before any shard knows the session. 0, or more than the daemon allows: what the daemon allows.
  void open(SessionId session, std::uint64_t limit_bytes) {
    at(sessions_[session.value].held).store(0, std::memory_order_relaxed);
    const std::uint64_t limit = limit_bytes == 0 ? most_
                                : most_ == 0     ? limit_bytes
                                                 : std::min(limit_bytes, most_);
    at(sessions_[session.value].limit)
        .store(std::min<std::uint64_t>(limit, INT64_MAX), std::memory_order_relaxed);
  }
  std::uint64_t limit(SessionId session) const {
    return static_cast<std::uint64_t>(
        at(sessions_[session.value].limit).load(std::memory_order_relaxed));
  }
  std::int64_t held(SessionId session) const {
    return at(sessions_[session.value].held).load(std::memory_order_relaxed);
  }
  // False when the session would get over its limit; nothing is reserved then.
  bool reserve(SessionId session, std::uint64_t bytes) {
    const std::int64_t limit = at(sessions_[session.value].limit).load(std::memory_order_relaxed);
    if (limit == 0) return true;
    const auto more = static_cast<std::int64_t>(bytes);
    if (at(sessions_[session.value].held).fetch_add(more, std::memory_order_relaxed) + more <=
        limit)
      return true;
    add(session, -more);
    return false;
  }
  void give_back(SessionId session, std::uint64_t bytes) {
    add(session, -static_cast<std::int64_t>(bytes));
  }
  // Whether over the limit or not.
  void add(SessionId session, std::int64_t bytes) {
    if (limit(session) != 0)
      at(sessions_[session.value].held).fetch_add(bytes, std::memory_order_relaxed);
  }

 private:
  struct Count {
    std::int64_t held;
    std::int64_t limit;  // 0: none
  };
  // calloc'ed pages cost nothing until a session uses them, atomics cannot be calloc'ed.
  static std::atomic_ref<std::int64_t> at(const std::int64_t& value) {
    return std::atomic_ref<std::int64_t>(const_cast<std::int64_t&>(value));
  }

  const std::uint64_t most_;
  ZeroedArray<Count> sessions_;
};

// What a shard tells the control thread. None of them blocks or takes a lock.
class ControlLink {
 public:
  virtual ~ControlLink() = default;
  // An allocation was parked under `ticket`: make every shard trim the arena, then call
  // Shard::trim_round with it.
  virtual void need_memory(ArenaId arena_id, ShardId shard, std::uint64_t ticket) = 0;
  // A call was parked because its session is at its limit: count anew what it holds, then call
  // Shard::recounted.
  virtual void need_recount(SessionId session, ArenaId arena_id, ShardId shard,
                            std::uint64_t ticket) = 0;
  // Blocks of an arena in which somebody waits were freed.
  virtual void memory_returned(ArenaId arena_id) = 0;
  // Slabs were taken: commit ahead soon.
  virtual void kick_maintenance() = 0;
};

// All of it, as every shard gets it.
struct SharedState {
  ServerTunables tunables;
  SessionBytes session_bytes;
  ControlLink* control = nullptr;  // set before any shard runs
  explicit SharedState(std::uint64_t session_limit_bytes) : session_bytes(session_limit_bytes) {}
};

}  // namespace arenad::server
