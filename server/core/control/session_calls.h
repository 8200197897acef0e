// SessionCalls: OpenSession, AttachArena, CloseSession, and the KeepAlive streams of sessions.
//
// Invariants: a new session, and an attachment, are answered when every shard knows them. A session
//   that no process is bound to lives as long as it has a stream, or until its grace is over. A
//   session that is bound to a process lives as long as the process, unless the process has left
//   it: for a while it had no stream, and it has no memory of an arena.
// Threads: the control thread.
// Crash: with a state directory a session is written down before it is answered.
#pragma once

#include <cstdint>
#include <string>

#include "server/core/control/control_core.h"

namespace arenad::server {

class Detaches;
class Drain;
class Evictions;
class Liveness;
class SessionEnds;
class TrimRounds;

class SessionCalls {
 public:
  SessionCalls(ControlCore& core, std::string handoff_path, const Drain& drain, Liveness& liveness,
               SessionEnds& ends, Evictions& evictions, Detaches& detaches, TrimRounds& trim_rounds)
      : core_(core),
        handoff_path_(std::move(handoff_path)),
        drain_(drain),
        liveness_(liveness),
        ends_(ends),
        evictions_(evictions),
        detaches_(detaches),
        trim_rounds_(trim_rounds) {}

  // The session is the caller's, and has the caller's rights. Errors: kDraining, kInvalidName,
  // kQuotaDaemon, kQuotaUser, kMachineFull, kInvalidOption (a reserve above the limit).
  Task<Answer<OpenedSession>> open(Caller caller, OpenSessionArgs args);
  // Errors: kUnknownSession, kDraining, kModeUnavailable, kUnknownArena, kNotPermitted.
  Task<Answer<AttachedArena>> attach(SessionKey key, std::string arena, AttachMode mode);
  // Errors: kUnknownSession.
  Task<Answer<GivenBack>> close(SessionKey key);
  // Errors: kUnknownSession, kNotPermitted (the session is another user's).
  Answer<Nothing> keepalive_opened(const Caller& caller, SessionKey key, std::uint64_t stream,
                                   OnSessionEvent on_event);
  void keepalive_lost(SessionKey key, std::uint64_t stream);
  // The session had neither a stream nor a new process for its grace.
  void grace_over(SessionId session);
  // A peer has returned what it can.
  void keepalive_trimmed(SessionKey key, std::uint64_t round, ArenaId arena);

 private:
  // Sets the reserve of a new session aside.
  Failure take_reserve(SessionRecord& session, std::uint64_t bytes);
  // What sessions of the user have reserved, but for those of administrators.
  std::uint64_t reserved_by(std::uint32_t uid);
  // Nobody knows the session yet.
  void drop(SessionId session);
  // A session whose stream is gone, although it is bound: its client may come back.
  void start_return_grace(SessionId session);

  ControlCore& core_;
  const std::string handoff_path_;
  const Drain& drain_;
  Liveness& liveness_;
  SessionEnds& ends_;
  Evictions& evictions_;
  Detaches& detaches_;
  TrimRounds& trim_rounds_;
};

}  // namespace arenad::server
