// LeaseThread: the thread of a session that looks after its peer heaps. Private.
//
// Purpose: leases ahead and returns surplus when a stock asks for it; about every 100 ms, while
// something is going on, lets sleeping
//   threads' heaps publish, drain and give back. When nothing goes on it looks less and less often.
// Invariants: no thread before the first pool. A pool's lock and the lease thread's are never held
// at once. Threads: any; stop by the owner. Crash: private memory.
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
  // `mend` is called now and then, off all locks: for what a session repairs.
  explicit LeaseThread(std::function<void()> mend) : mend_(std::move(mend)) {}
  ~LeaseThread() { stop(); }

  Status add(
      std::shared_ptr<PeerPool> pool);  // RESOURCE_EXHAUSTED when there is no thread to be had
  void wake();
  void stop();

 private:
  void run();

  const std::function<void()> mend_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  bool woken_ = false;
  std::vector<std::shared_ptr<PeerPool>> pools_;
  std::thread thread_;
};

}  // namespace arenad::client
