// Maintenance: the thread that looks after all arenas from time to time.
//
// Purpose: sees which arenas lack spare memory and which have idle memory, and lets their commit
// threads (commit_threads.h) commit ahead and give back. Says what an operator should know.
// Invariants: while a kick is pending, a second kick is one relaxed load.
// Threads: kick by any thread, without a lock. set_arenas and trim by the control
// thread.
// Crash: private memory. The heap that needs memory makes a commit that did not happen.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "allocator/base/unique_fd.h"
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
  void set_arenas(std::vector<std::shared_ptr<ArenaState>> arenas);
  // Gives all wholly free superslabs of the arenas back to the system, but those that are kept
  // committed ahead. Calls `done` on some thread when that is done, and not after stop().
  void trim(const std::vector<std::shared_ptr<ArenaState>>& arenas, std::function<void()> done);
  // Slabs were taken: this thread looks soon.
  void kick() {
    if (kicked_.load(std::memory_order_relaxed)) return;
    kick_slow();
  }

 private:
  void kick_slow();
  void run(std::stop_token stop);
  void work(bool give_back);
  void look_at(const std::shared_ptr<ArenaState>& state, bool give_back);

  const ServerTunables& tunables_;
  CommitThreads& commits_;
  const Log log_;
  UniqueFd event_;  // eventfd: kicks and stop; a shard must not take a mutex
  // Set by kick_slow, cleared by the thread before it works. Partner: itself; the eventfd orders.
  std::atomic<bool> kicked_{false};
  std::mutex mutex_;  // arenas_: control and maintenance thread only
  std::vector<std::shared_ptr<ArenaState>> arenas_;
  HeapTrim heap_trim_;
  bool short_of_memory_ = false;  // said once, until a commit works again
  std::jthread thread_;
};

}  // namespace arenad::server
