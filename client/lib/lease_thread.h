// LeaseThread: the thread of a session that looks after its peer heaps. Private.
//
// Purpose: lease ahead and return surplus when a stock asks for it. Every 100 ms, while something
//   is going on, look at the heaps: a heap whose thread sleeps publishes, drains and gives back.
//   When nothing goes on, the looks become rarer, down to one in 400 ms.
// Invariants: the thread starts with the first pool. It never holds its own lock and a pool's lock
//   at once.
// Threads: any; the owner calls stop. Crash: private memory.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "client/lib/peer_pool.h"

namespace arenad::client {

class LeaseThread {
 public:
  // The thread calls `mend` with each look at the heaps, without a lock. The session repairs there.
  explicit LeaseThread(std::function<void()> mend) : mend_(std::move(mend)) {}
  ~LeaseThread() { stop(); }

  // Looks after one more pool. Errors: RESOURCE_EXHAUSTED (no thread can be started).
  Status add(std::shared_ptr<PeerPool> pool);
  void remove(const PeerPool& pool);
  // A stock has something to lease or to return.
  void wake();
  void stop();

 private:
  void run();

  const std::function<void()> mend_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;                         // under mutex_
  bool woken_ = false;                            // under mutex_
  std::vector<std::shared_ptr<PeerPool>> pools_;  // under mutex_
  std::thread thread_;
};

}  // namespace arenad::client
