// StateWatch: notices when files of the state directory are removed under the daemon.
//
// Purpose: the clean-up of a user's tmpfs at logout does that. The daemon serves on, because its
// mappings stay. But what is lost ends with the daemon, and an operator must know that in time.
// Invariants: each loss is said once. An arena that was deleted by a call is not lost.
// Threads: start by the thread that starts the engine; all else on the control thread.
// Crash: only looks at files.
#pragma once

#include <functional>
#include <set>
#include <string>

#include "server/core/control/control_core.h"

namespace arenad::server {

class StateWatch {
 public:
  // `on_lost` runs once, on the control thread, when something is lost. May be empty.
  StateWatch(ControlCore& core, std::function<void()> on_lost)
      : core_(core), on_lost_(std::move(on_lost)) {}

  // From here on looks once a second at some arenas, one after the other. When one has lost a file,
  // looks at all. Does nothing without a state directory.
  void start();
  // Looks at all now, and logs what was not lost at the look before.
  void look();

 private:
  Task<> keep_looking();

  ControlCore& core_;
  std::function<void()> on_lost_;  // empty when it has run
  StateDirectory::Lost told_;
};

}  // namespace arenad::server
