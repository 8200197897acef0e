// SessionEnds: the end of a session, whatever its cause, until its id may be used again.
//
// Purpose: a session ends in these steps (README.md, "How a session ends"):
//   1. stop_serving: its key works for nobody from here on, also not after a restart;
//   2. every shard forgets it, and says where it gave the session blocks;
//   3. its detaches that are under way end (Detaches);
//   4. SessionReap takes back what it has in its arenas;
//   5. release: its id rests.
// Invariants: those of SessionReap. Every step is idempotent.
// Threads: the control thread.
// Crash: with a state directory the table of sessions says that the session was ending, and the
// next daemon reaps it again. Without one the arenas end with the daemon.
#pragma once

#include <cstdint>
#include <map>

#include "server/core/control/control_core.h"
#include "server/core/control/session_reap.h"

namespace arenad::server {

class Detaches;
class Drain;
class Liveness;
class TrimRounds;

enum class EndCause : std::uint8_t {
  kClosed,
  kProcessDied,
  kProcessLeft,  // the process lives, and has neither a stream nor memory of the session
  kKeepaliveLost,
  kGraceOver,
  kEvicted  // by an administrator (evictions.h)
};

class SessionEnds {
 public:
  SessionEnds(ControlCore& core, Liveness& liveness, SessionReap& reap, Detaches& detaches,
              TrimRounds& trim_rounds, Drain& drain)
      : core_(core),
        liveness_(liveness),
        reap_(reap),
        detaches_(detaches),
        trim_rounds_(trim_rounds),
        drain_(drain) {}

  // Ends the session and answers what it gave back. Nothing happens when it is ending already.
  Task<Answer<GivenBack>> end(SessionId session, EndCause cause);
  // The same, and nobody waits for it.
  void start(SessionId session, EndCause cause);

  // Sessions that ended without being closed, since the start.
  std::uint64_t reaped() const { return reaped_; }
  void count_reaped(std::uint64_t sessions) { reaped_ += sessions; }

 private:
  Task<> end_alone(SessionId session, EndCause cause);
  std::map<std::uint64_t, OnSessionEvent> stop_serving(SessionRecord& session, EndCause cause);
  void log_end(const SessionReap::Work& work, EndCause cause);
  void release(SessionId session, EndCause cause);

  ControlCore& core_;
  Liveness& liveness_;
  SessionReap& reap_;
  Detaches& detaches_;
  TrimRounds& trim_rounds_;
  Drain& drain_;
  std::uint64_t reaped_ = 0;
};

}  // namespace arenad::server
