// Alarm: when the shard's loop must look at its timers again.
//
// Purpose: keeps the earliest time of all timers of one shard, and wakes the loop when that time
//   becomes earlier.
// Threads: the shard's own. Crash: private.
#pragma once

#include <cstdint>

#include "server/core/shard/inbox.h"

namespace arenad::server {

class Alarm {
 public:
  explicit Alarm(Inbox& inbox) : inbox_(inbox) {}
  // Monotonic nanoseconds, as in clock.h.
  std::uint64_t next_ns() const { return next_ns_; }
  bool due(std::uint64_t now) const { return now >= next_ns_; }
  void set(std::uint64_t next_ns) { next_ns_ = next_ns; }
  // At `deadline_ns` at the latest. The loop sleeps until the time that was set before, so it is
  // woken when the new time is earlier.
  void ring_by(std::uint64_t deadline_ns) {
    if (deadline_ns >= next_ns_) return;
    next_ns_ = deadline_ns;
    inbox_.wake();
  }

 private:
  Inbox& inbox_;
  std::uint64_t next_ns_ = 0;
};

}  // namespace arenad::server
