// ArenaState: one living arena, as shards, control thread and maintenance thread share it.
//
// Purpose: owns the arena, and holds the three flags that those threads tell each other through.
// Invariants: whoever uses the arena holds a shared_ptr to its ArenaState. So a deletion frees the
//   memory only when the last thread has let go of the arena.
// Threads: any; atomics only.
// Crash: private memory of the daemon.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

#include "allocator/arena/arena.h"
#include "server/core/shard/lease_epochs.h"
#include "server/core/state/bus_guard.h"

namespace arenad::server {

// Notices when a file of an arena is cut short or loses its memory while it is mapped. Memfds are
// sealed against that, so only arenas of a state directory need it.
class ArenaFileWatch {
 public:
  explicit ArenaFileWatch(const Arena& arena);
  ArenaFileWatch(const ArenaFileWatch&) = delete;
  ArenaFileWatch& operator=(const ArenaFileWatch&) = delete;
  // True once, when a file was lost since the call before. Any thread.
  bool take_loss() {
    return lost_.load(std::memory_order_acquire) &&
           !told_.exchange(true, std::memory_order_relaxed);
  }

 private:
  std::atomic<bool> lost_{false};  // released by a guard's signal handler, acquired by take_loss
  std::atomic<bool> told_{false};  // pairs with itself: one caller learns of the loss
  BusGuard control_, ledger_;
  std::optional<BusGuard> data_;
};

struct ArenaState {
  // `in_files`: the arena lies in a state directory.
  explicit ArenaState(std::unique_ptr<Arena> a, bool in_files = false);

  // Quarantines an arena that lost a file.
  void check_files();
  // True once, when the arena is quarantined: whoever gets it logs the reason. Guards of heaps
  // quarantine arenas on the shards' threads, which do not log.
  bool take_quarantine() {
    return arena->quarantined() && !quarantine_told_.exchange(true, std::memory_order_relaxed);
  }

  const std::unique_ptr<Arena> arena;
  std::optional<ArenaFileWatch> files;  // ends before the arena's mappings
  LeaseEpochs lease_epochs;
  // Calls that are parked on any shard. A shard that gives memory back while this is not 0 tells
  // the control thread. Relaxed: the waiter's own timer makes good for a moment that was missed.
  std::atomic<std::uint32_t> waiting{0};
  // The arena's commit thread is asked to look after spare memory; it could not commit any.
  // Relaxed: told by one thread to another, and late is as good.
  std::atomic<bool> tended{false};
  std::atomic<bool> short_of_memory{false};
  // True when a peer is or was attached, or when blocks were shared. Blocks then change hands
  // without a call, so counts come from the block words and not from the shards. Set before that
  // can happen, and never cleared. Relaxed: the message that lets a session act comes after it.
  std::atomic<bool> counts_from_words{false};

 private:
  std::atomic<bool> quarantine_told_{false};  // pairs with itself: one caller learns of it
};

}  // namespace arenad::server
