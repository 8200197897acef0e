// DaemonGate: how a session stands with its daemon, and who may call it for leases meanwhile.
//
// Purpose: after a lost connection a session resumes: it names all slabs that it knows, and the
// daemon takes back the others. A lease
//   that is answered while that list is on its way would be taken back in use. So lease calls pass
//   this gate, and a resume has it for itself.
// Invariants: while exclusive() is held nobody is inside, and nobody comes in.
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
  // kLost and kClosed stay. Wakes whoever waits to come in.
  void set(SessionStanding standing);

  // Waits until the session is connected. Errors: UNKNOWN_SESSION (lost or closed), UNAVAILABLE at
  // the deadline.
  Status enter(Clock::time_point deadline);
  void leave();
  // Waits for a change of standing, or a little while: before a failed call is made again.
  void pause(Clock::time_point deadline);

  // Waits until nobody is inside, and keeps it so until open_again, which must follow. False when
  // the session is over.
  bool make_exclusive();
  void open_again();

 private:
  std::atomic<SessionStanding> standing_{SessionStanding::kConnected};  // written under mutex_
  std::mutex mutex_;
  std::condition_variable changed_;
  int inside_ = 0;
  bool exclusive_ = false;
};

// What calls of a session answer that is lost or closed.
Status lost_status();
Status closed_status();

}  // namespace arenad::client
