// Evictions: an administrator ends a session whose process lives and goes on.
//
// Purpose: an eviction has these steps:
//   1. The session's KeepAlive streams are told. A client library then stops its heaps, and ends
//      its streams.
//   2. The session ends as every session does (SessionEnds), when the last stream has ended, and
//      after kPatience at the latest.
// Invariants: an eviction does not wait for the client's good will. A client that goes on writing
//   to what it has mapped harms the arenas in which it was a writer or a peer, and nothing else.
// Threads: the control thread.
// Crash: until step 2 the session is one like others, for the next daemon, too. From there on see
// SessionEnds.
#pragma once

#include <chrono>
#include <map>

#include "server/core/control/control_core.h"
#include "server/core/control/later.h"

namespace arenad::server {

class SessionEnds;

class Evictions {
 public:
  // A stopped or hostile client costs the administrator this long.
  static constexpr std::chrono::milliseconds kPatience{1000};

  Evictions(ControlCore& core, SessionEnds& ends) : core_(core), ends_(ends) {}

  // Answers what the session gave back. Errors: kNotPermitted, kUnknownSession.
  Task<Answer<GivenBack>> evict(Caller caller, SessionId session);
  bool under_way(SessionId session) const { return under_way_.contains(session); }
  // The session's last stream has ended, and its client's heaps stand still.
  void streams_ended(SessionId session);

 private:
  Task<> lose_patience(Later<Nothing> quiet);

  ControlCore& core_;
  SessionEnds& ends_;
  std::map<SessionId, Later<Nothing>> under_way_;  // set when the wait is over
};

}  // namespace arenad::server
