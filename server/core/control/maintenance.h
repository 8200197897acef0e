// Maintenance: the one thread that commits memory ahead of need and gives idle memory back.
//
// Purpose: to commit 2 MiB takes half a millisecond. Neither a shard nor the control thread should
// spend that time.
// Invariants: between pause() and resume() this thread touches no arena. While a kick is pending, a
// second kick is one relaxed load.
// Threads: kick by any thread, without a lock. set_arenas, bury, trim, pause and resume by the
// control thread.
// Crash: private memory. The heap that needs memory makes a commit that did not happen.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "allocator/base/unique_fd.h"
#include "server/core/api/log.h"
#include "server/core/control/heap_trim.h"
#include "server/core/shard/shared_state.h"

namespace arenad::server {

class Maintenance {
 public:
  Maintenance(const ServerTunables& tunables, Log log);
  ~Maintenance();

  void start();
  void stop();  // joins
  void set_arenas(std::vector<std::shared_ptr<ArenaState>> arenas);
  // Drops a deleted arena on this thread, because to unmap gigabytes takes a while.
  void bury(std::shared_ptr<ArenaState> arena);
  // Gives all wholly free superslabs of the arenas back to the system, but those that are kept
  // committed ahead. Then calls `done` on this thread.
  void trim(std::vector<std::shared_ptr<ArenaState>> arenas, std::function<void()> done);
  // Slabs were taken: this thread looks soon.
  void kick() {
    if (kicked_.load(std::memory_order_relaxed)) return;
    kick_slow();
  }
  // Waits until this thread touches no arena, and keeps it from doing so. There are as many resumes
  // as pauses.
  void pause();
  void resume();
  // Pauses as long as this object lives.
  class Pause {
   public:
    explicit Pause(Maintenance& maintenance) : maintenance_(maintenance) { maintenance_.pause(); }
    ~Pause() { maintenance_.resume(); }
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;

   private:
    Maintenance& maintenance_;
  };

 private:
  void kick_slow();
  void run(std::stop_token stop);
  void work(bool give_back);
  void work_on_trims();
  bool trim(Arena& arena);
  bool step(const std::function<void()>& piece);

  const ServerTunables& tunables_;
  const Log log_;
  UniqueFd event_;  // eventfd: kicks and stop; a shard must not take a mutex
  // Set by kick_slow, cleared by the thread before it works. Partner: itself; the eventfd orders.
  std::atomic<bool> kicked_{false};
  std::mutex mutex_;  // arenas_, paused_, working_: control and maintenance thread only
  std::condition_variable changed_;
  std::vector<std::shared_ptr<ArenaState>> arenas_;
  std::vector<std::shared_ptr<ArenaState>> graves_;
  struct Trim {
    std::vector<std::shared_ptr<ArenaState>> arenas;
    std::function<void()> done;
  };
  std::vector<Trim> trims_;  // under mutex_
  int paused_ = 0;
  bool working_ = false;
  HeapTrim heap_trim_;
  bool short_of_memory_ = false;  // said once, until a commit works again
  std::jthread thread_;
};

}  // namespace arenad::server
