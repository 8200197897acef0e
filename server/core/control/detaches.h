// Detaches: a session leaves one arena, and goes on in the others.
//
// Purpose: DetachArena, in these steps:
//   1. every shard lets the session get no block and no lease in the arena, fails what it has
//      parked there, and says what the session holds;
//   2. a session that holds blocks, and does not give them up, stays: the shards are told so;
//   3. every shard forgets the attachment, and says where it gave the session blocks;
//   4. SessionReap takes back what the session has in the arena.
// Invariants: a session has at most one detach from an arena under way. An attach of the same
// session and arena, and the end of the session, wait for the end of that detach. Between steps 1
// and 3 the session may free and release, so what step 1 counted only shrinks. In step 1 a peer's
// process keeps its threads out of its heaps (client/lib/peer_pool.h); a peer that does not ruins
// its own blocks.
//   The lease epoch of session and arena stays, so what the session sent before the detach is
// refused in its next attachment. A DetachArena names its epoch, too. Thus a late one does not end
// the next attachment.
// Threads: the control thread.
// Crash: in steps 1 to 3 nothing has changed that outlives the daemon. From step 4 on see
// session_reap.h: the session is attached until all is taken back, and its client detaches again.
// A client that dies in the middle ends its session, which takes back the rest.
#pragma once

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "server/core/control/control_core.h"
#include "server/core/control/session_reap.h"

namespace arenad::server {

class Detaches {
 public:
  Detaches(ControlCore& core, SessionReap& reap) : core_(core), reap_(reap) {}

  // Errors: kUnknownSession, kUnknownArena, kNotAttached, kBlocksHeld, kStaleEpoch.
  Task<Answer<GivenBack>> detach(SessionKey key, ArenaId arena, LeaseEpoch epoch, bool give_up);
  bool under_way(SessionId session, ArenaId arena) const {
    return under_way_.contains({session, arena});
  }
  // Ends when the session's detach from the arena, or all of its detaches, are over.
  Task<> wait_for(SessionId session, ArenaId arena);
  Task<> wait_for_all(SessionId session);

 private:
  using Attachment = std::pair<SessionId, ArenaId>;

  Answer<std::shared_ptr<ArenaState>> admit(const SessionRecord& session, ArenaId arena,
                                            LeaseEpoch epoch);
  // Steps 1 and 2. Answers what the session holds; it stays when that is not nothing.
  Task<HeldShare> begin(SessionId session, std::shared_ptr<ArenaState> state, bool give_up);
  void log_detach(const SessionReap::Work& work, const ArenaState& state);
  void end(Attachment attachment);
  Failure blocks_held(SessionId session, const ArenaState& state, const HeldShare& held) const;

  ControlCore& core_;
  SessionReap& reap_;
  std::map<Attachment, std::vector<Later<Nothing>>> under_way_;  // with those who wait for its end
};

}  // namespace arenad::server
