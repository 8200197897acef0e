// Maintenance: the thread that looks after all arenas from time to time.
//
// Purpose: sees which arenas lack spare memory and which have idle memory, and lets their commit
// threads (commit_threads.h) commit ahead and give back. Says what an operator should know. A kick
// makes it look at the arena in which somebody worked. It looks at all arenas five times a second.
// Invariants: while a kick is pending, a second kick for the same arena is one relaxed load.
// Threads: kick by any thread, without a lock. set_arenas and trim by the control
// thread.
// Crash: private memory. The heap that needs memory makes a commit that did not happen.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "allocator/base/unique_fd.h"
#include "server/core/api/common.h"
#include "server/core/api/log.h"
#include "server/core/control/commit_threads.h"
#include "server/core/control/heap_trim.h"
#include "server/core/shard/shared_state.h"

namespace arenad::server {

class Maintenance {
 public:
  Maintenance(const ServerTunables& tunables, CommitThreads& commits, Log log);
  ~Maintenance();

  void start();
  void stop();  // joins
  void set_arenas(const std::vector<std::shared_ptr<ArenaState>>& arenas);
  // Gives all wholly free superslabs of the arenas back to the system, but those that are kept
  // committed ahead. Calls `done` on some thread when that is done, and not after stop().
  void trim(const std::vector<std::shared_ptr<ArenaState>>& arenas, std::function<void()> done);
  // Slabs of the arena were taken: this thread looks at it soon. Any thread.
  void kick(ArenaId arena) { kicked_.kick(arena, event_.get()); }
  // This thread looks at all arenas soon.
  void kick() { kick(kAllArenas); }

 private:
  // Arenas by id; kAllArenas stands for all.
  class Kicks {
   public:
    void kick(ArenaId arena, int event) {
      if ((bits_[arena.value / 64].load(std::memory_order_relaxed) & bit(arena)) == 0)
        kick_slow(arena, event);
    }
    // The arenas of one word of 64 ids. Their next kicks come through.
    std::uint64_t take(std::size_t word) {
      return bits_[word].load(std::memory_order_relaxed) == 0
                 ? 0
                 : bits_[word].exchange(0, std::memory_order_relaxed);
    }
    static constexpr std::size_t kWords = (kMaxArenaId + 1) / 64;

   private:
    static std::uint64_t bit(ArenaId arena) { return std::uint64_t{1} << (arena.value % 64); }
    void kick_slow(ArenaId arena, int event);
    // Set by kick, cleared by the maintenance thread before it works. Relaxed: the eventfd orders.
    // It is written after the bit is set, and read before the bit is. Partner: itself.
    std::array<std::atomic<std::uint64_t>, kWords> bits_{};
  };

  using States = std::vector<std::shared_ptr<ArenaState>>;

  void run(std::stop_token stop);
  // The arenas that were kicked since the call before. `all`: all arenas; set when all were kicked.
  States take_kicked(bool& all);
  void tell_shortage(const States& all);
  void look_at(const std::shared_ptr<ArenaState>& state, bool give_back);

  const ServerTunables& tunables_;
  CommitThreads& commits_;
  const Log log_;
  UniqueFd event_;  // eventfd: kicks and stop; a shard must not take a mutex
  Kicks kicked_;
  std::mutex mutex_;  // arenas_: control and maintenance thread only
  std::map<ArenaId, std::shared_ptr<ArenaState>> arenas_;
  HeapTrim heap_trim_;
  bool short_of_memory_ = false;  // said once, until a commit works again
  std::jthread thread_;
};

}  // namespace arenad::server
