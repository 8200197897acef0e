// Recounts: what sessions are charged for is counted anew.
//
// Purpose: peers pass blocks on without a call, so the account of a session can be too high. Before
// a call is refused for a limit of its session or its user, the leases and blocks of the session,
// or of all sessions of the user, are counted.
// Invariants: a session is charged for its leases whole, and for the blocks that it holds
// elsewhere. In arenas without peers the shards' counts are exact. What is charged or credited
// while the count goes on stays so.
// Threads: the control thread.
// Crash: private memory of the daemon.
#pragma once

#include <cstdint>
#include <vector>

#include "server/core/control/control_core.h"

namespace arenad::server {

class Recounts {
 public:
  explicit Recounts(ControlCore& core) : core_(core) {}

  // False when the session has ended: its shards fail what is parked for it. A session for which
  // nothing is charged is not counted.
  Task<bool> recount(SessionId session);
  // Counts a session, and tells nobody.
  void start(SessionId session);
  // Counts a session, or for kQuotaUser all sessions of its user, and then tells the shard that
  // parked a call under `ticket`.
  void start_for(Error why, SessionId session, ArenaId arena, ShardId shard, std::uint64_t ticket);

 private:
  Task<> recount_alone(SessionId session);
  Task<> recount_for(Error why, SessionId session, ArenaId arena, ShardId shard,
                     std::uint64_t ticket);
  Task<> recount_all(std::vector<SessionId> sessions);
  bool lives(SessionId session);
  std::vector<SessionId> sessions_of(std::uint32_t uid);

  ControlCore& core_;
};

}  // namespace arenad::server
