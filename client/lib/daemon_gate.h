// DaemonGate: how a session stands with its daemon, and when it may call the daemon for leases.
//
// Purpose: a lease call waits here while the daemon is away, and while its arena resumes. The
//   threads that find out wake it.
// Invariants: kLost, kEvicted and kClosed stay for good.
// Threads: any. Crash: private memory.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "arenad/status.h"
#include "arenad/types.h"

namespace arenad::client {

class DaemonGate {
 public:
  using Clock = std::chrono::steady_clock;

  SessionStanding standing() const { return standing_.load(std::memory_order_relaxed); }
  // kLost, kEvicted and kClosed stay for good. Wakes the threads that wait in enter().
  void set(SessionStanding standing);

  // Waits until the session is connected and ready() is true. ready() runs under the gate's lock.
  // Errors: UNKNOWN_SESSION (lost or closed), EVICTED, UNAVAILABLE at the deadline.
  template <class Ready>
  Status enter(Clock::time_point deadline, Ready ready) {
    std::unique_lock lock(mutex_);
    const bool in_time = changed_.wait_until(lock, deadline, [&] {
      return is_over(standing_) || (standing_ == SessionStanding::kConnected && ready());
    });
    return answer(in_time);
  }
  // Runs change(), which changes what a ready() looks at, under the gate's lock. Wakes the waiting
  // threads.
  template <class Change>
  void update(Change change) {
    {
      const std::lock_guard lock(mutex_);
      change();
    }
    changed_.notify_all();
  }
  // Waits for a change of standing, 20 ms at most. For a call that failed and is made again.
  void pause(Clock::time_point deadline);

 private:
  static bool is_over(SessionStanding s) {
    return s == SessionStanding::kLost || s == SessionStanding::kEvicted ||
           s == SessionStanding::kClosed;
  }
  // Of enter(), under mutex_.
  Status answer(bool in_time) const;

  // Written under mutex_. standing() reads it without: a hint there, which orders nothing.
  std::atomic<SessionStanding> standing_{SessionStanding::kConnected};
  std::mutex mutex_;
  std::condition_variable changed_;
};

// Answers of calls: of a session that is lost, evicted or closed, and of one that waited in vain.
Status lost_status();
Status evicted_status();
Status closed_status();
Status away_status();

}  // namespace arenad::client
