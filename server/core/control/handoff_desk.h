// HandoffDesk: what a handoff token is worth.
//
// Purpose: checks who brings the token, opens the files that the token stands for, and binds the
// session to the process of the caller.
// Invariants: a token is used up, whatever the answer. A session is bound to one process; its other
// tokens work for that process alone. The binding is written down before the process learns of it.
// Threads: the control thread.
// Crash: a binding that was written and not answered binds the session to a process that asks again
// or dies.
#pragma once

#include <string_view>

#include "server/core/control/control_core.h"
#include "server/core/handoff/handoff.h"

namespace arenad::server {

class Liveness;

class HandoffDesk final : public HandoffHost {
 public:
  HandoffDesk(ControlCore& core, Liveness& liveness) : core_(core), liveness_(liveness) {}

  // Errors (in the grant): kDraining, kBadToken, kNotPermitted, kUnknownArena, kMachineFull.
  HandoffGrant redeem(std::string_view token, Answer<CallerProcess> caller) override;

 private:
  Failure check(const SessionRecord& session, const CallerProcess& caller) const;
  Failure open_arena(const TokenUse& use, const CallerProcess& caller, HandoffGrant& grant);
  Failure open_files(const ArenaRecord& record, const TokenUse& use, HandoffGrant& grant) const;
  void bind(SessionRecord& session, CallerProcess& caller);

  ControlCore& core_;
  Liveness& liveness_;
};

}  // namespace arenad::server
