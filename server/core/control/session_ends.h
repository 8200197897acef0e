// SessionEnds: the end of a session, whatever its cause, until its id may be used again.
//
// Purpose: a session ends in these steps (README.md, "How a session ends"):
//   1. stop_serving: its key works for nobody from here on, also not after a restart;
//   2. every shard forgets it, and says where it gave the session blocks;
//   3. adopt_leases: its leases become the shards', a share each;
//   4. reap: the rest of what it held is given back;
//   5. the shards drain what was given back;
//   6. release: no arena knows it any more, and its id rests.
// Invariants: steps 4 and 6 wait for a standstill to be over. An audit may fall between any other
// steps: each run is somebody's at any moment. Every step is idempotent.
// Threads: the control thread.
// Crash: with a state directory the table of sessions says that the session was ending, and the
// next daemon reaps it again. Without one the arenas end with the daemon.
#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "allocator/arena/footprint.h"
#include "server/core/control/control_core.h"
#include "server/core/control/standstill_gate.h"

namespace arenad::server {

class Drain;
class Liveness;
class TrimRounds;

enum class EndCause : std::uint8_t {
  kClosed,
  kProcessDied,
  kProcessLeft,  // the process lives, and has neither a stream nor memory of the session
  kKeepaliveLost,
  kGraceOver
};

class SessionEnds {
 public:
  SessionEnds(ControlCore& core, Liveness& liveness, StandstillGate& gate, TrimRounds& trim_rounds,
              Drain& drain)
      : core_(core), liveness_(liveness), gate_(gate), trim_rounds_(trim_rounds), drain_(drain) {}

  // Ends the session and answers what it gave back. Nothing happens when it is ending already.
  Task<Answer<GivenBack>> end(SessionId session, EndCause cause);
  // The same, and nobody waits for it.
  void start(SessionId session, EndCause cause);

  // Sessions that ended without being closed, since the start.
  std::uint64_t reaped() const { return reaped_; }
  void count_reaped(std::uint64_t sessions) { reaped_ += sessions; }

 private:
  using Arenas = std::map<ArenaId, std::shared_ptr<ArenaState>>;
  // What is known of a session on its way out.
  struct Ending {
    SessionId session;
    EndCause cause;
    std::map<ArenaId, Footprint> footprints;  // where the shards gave it blocks
    Arenas arenas;                            // that it was attached to
    GivenBack given;
    std::uint64_t adopted_runs = 0;

    void add(const ReapResult& result) {
      given.blocks += result.blocks;
      given.bytes += result.bytes;
      adopted_runs += result.adopted_slabs;
    }
  };

  Task<> end_alone(SessionId session, EndCause cause);
  std::map<std::uint64_t, OnSessionEvent> stop_serving(SessionRecord& session);
  Task<> adopt_leases(Ending& ending);
  void reap(Ending& ending);
  void log_end(const Ending& ending);
  Task<> drain_shards(const Ending& ending);
  void release(const Ending& ending);

  ControlCore& core_;
  Liveness& liveness_;
  StandstillGate& gate_;
  TrimRounds& trim_rounds_;
  Drain& drain_;
  std::uint64_t reaped_ = 0;
};

}  // namespace arenad::server
