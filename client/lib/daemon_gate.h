// DaemonGate: how a session stands with its daemon, and who may call the daemon for leases.
//
// Purpose: after a lost connection a session resumes. It names all slabs that it knows, and the
//   daemon takes back the others. A lease that is answered while this list is on its way would be
//   taken back although it is in use. So lease calls pass this gate, and a resume has the gate for
//   itself.
// Invariants: between make_exclusive() and open_again() nobody is inside.
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
  // kLost and kClosed stay for good. Wakes the threads that wait in enter().
  void set(SessionStanding standing);

  // Waits until the session is connected and nobody has the gate for itself. Errors:
  // UNKNOWN_SESSION (lost or closed), UNAVAILABLE at the deadline.
  Status enter(Clock::time_point deadline);
  void leave();
  // Waits for a change of standing, 20 ms at most. For a call that failed and is made again.
  void pause(Clock::time_point deadline);

  // Waits until nobody is inside, and lets nobody in until open_again(). False when the session is
  // over. open_again() must follow in either case.
  bool make_exclusive();
  void open_again();

 private:
  // Written under mutex_. standing() reads it without: a hint there, which orders nothing.
  std::atomic<SessionStanding> standing_{SessionStanding::kConnected};
  std::mutex mutex_;
  std::condition_variable changed_;
  int inside_ = 0;          // under mutex_
  bool exclusive_ = false;  // under mutex_
};

// The answer of every call of a session that is lost, or closed.
Status lost_status();
Status closed_status();

}  // namespace arenad::client
