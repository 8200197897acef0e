// StandstillGate: keeps the reaper out while the shards stand still for an audit.
//
// Invariants: while a standstill is open, nobody has passed the gate who has not waited again. A
// sequence that has waited changes arenas before its next co_await, or waits once more.
// Threads: the control thread.
// Crash: private memory of the daemon.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "server/core/api/api.h"
#include "server/core/control/later.h"
#include "server/core/control/task.h"

namespace arenad::server {

class StandstillGate {
 public:
  // Standstills may overlap: as many opens as closes.
  void close() { ++closed_; }
  void open() {
    if (--closed_ != 0) return;
    for (const Later<Nothing>& opened : std::exchange(waiting_, {})) opened.set({});
  }
  bool closed() const { return closed_ != 0; }
  // Ends when no standstill is open.
  Task<> wait_until_open() {
    while (closed()) {
      const Later<Nothing> opened;
      waiting_.push_back(opened);
      co_await opened;
    }
  }

 private:
  std::uint32_t closed_ = 0;
  std::vector<Later<Nothing>> waiting_;
};

}  // namespace arenad::server
