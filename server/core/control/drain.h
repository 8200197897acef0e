// Drain: the daemon takes no new arenas and sessions, and waits for its sessions to close.
//
// Invariants: there is one drain; a second begin changes nothing. `drained` runs once.
// With a state directory nobody has to close, and the drain is over at once: the sessions of living
// processes go on with the next daemon.
// Threads: begin, mark and draining by any thread; session_ended on the control thread.
// Crash: private memory of the daemon.
#pragma once

#include <atomic>
#include <functional>

#include "server/core/control/control_core.h"

namespace arenad::server {

class Drain {
 public:
  explicit Drain(ControlCore& core) : core_(core) {}

  bool draining() const { return draining_.load(std::memory_order_acquire); }
  // From here on draining() is true.
  void mark() { draining_.store(true, std::memory_order_release); }
  // Marks, tells all KeepAlive streams, and calls `drained` on the control thread when the last
  // session has ended or drain_deadline_ms is over.
  void begin(std::function<void()> drained);
  void session_ended();

 private:
  void tell_sessions();
  Task<> wait_for_deadline();
  void finish();

  ControlCore& core_;
  std::atomic<bool> draining_{false};  // release by mark, acquire by draining
  bool begun_ = false;
  bool over_ = false;
  std::function<void()> drained_;
};

}  // namespace arenad::server
