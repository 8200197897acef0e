// Upkeep: what an administrator does about memory that is in use: Trim and SetSessionLimit.
//
// Invariants: a session above its new limit keeps what it has, and gets nothing before it is below.
// Threads: the control thread.
// Crash: private memory of the daemon. A session's new limit is in the table of sessions, where
// there is one, before the call is answered.
#pragma once

#include <cstdint>
#include <string>

#include "server/core/control/control_core.h"

namespace arenad::server {

class FreeRounds;
class TrimRounds;

class Upkeep {
 public:
  Upkeep(ControlCore& core, FreeRounds& free_rounds, TrimRounds& trim_rounds)
      : core_(core), free_rounds_(free_rounds), trim_rounds_(trim_rounds) {}

  // Answers the sums of all arenas in the scope. Errors: kNotPermitted, kUnknownArena.
  Task<Answer<TrimFacts>> trim(Caller caller, std::string arena);
  // Errors: kNotPermitted, kUnknownSession.
  Task<Answer<SessionLimitFacts>> limit_session(Caller caller, SessionId session,
                                                std::uint64_t limit_bytes);

 private:
  Later<Nothing> give_back(const std::vector<std::shared_ptr<ArenaState>>& arenas);

  ControlCore& core_;
  FreeRounds& free_rounds_;
  TrimRounds& trim_rounds_;
};

}  // namespace arenad::server
