// SessionReap: takes back all that a session has in some arenas.
//
// Purpose: the steps that the end of a session (SessionEnds) and a detach (Detaches) have in
// common. No shard acts for the session in these arenas any more, and the shards have said where
// they gave the session blocks. Then
//   1. the session's leases become the shards', a share each;
//   2. the rest of what the session held is given back;
//   3. the shards drain what was given back;
//   4. the heir of the session's user pays for what the session leaves with others;
//   5. the arenas forget the session, and their ledgers say last that it is not attached.
// Invariants: steps 2 and 5 wait for a standstill to be over. An audit may fall between any other
// steps: each run is somebody's at any moment. Every step is idempotent. Nobody else reaps the
// session in the same arena meanwhile.
// Threads: the control thread.
// Crash: until the last step the arena's ledger says that the session is attached. So the next
// daemon serves the session as attached, with what it still has, or reaps the session again.
#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "allocator/arena/footprint.h"
#include "server/core/control/control_core.h"
#include "server/core/control/standstill_gate.h"

namespace arenad::server {

class TrimRounds;

class SessionReap {
 public:
  // What is to be taken back, and what was.
  struct Work {
    SessionId session;
    std::map<ArenaId, std::shared_ptr<ArenaState>> arenas;
    std::map<ArenaId, Footprint> footprints;  // where the shards gave the session blocks
    SessionId heir;                           // who pays for what is left; kNoSession: nobody
    GivenBack given;
    std::uint64_t adopted_runs = 0;

    void add(const ReapResult& result) {
      given.blocks += result.blocks;
      given.bytes += result.bytes;
      adopted_runs += result.adopted_slabs;
    }
  };

  SessionReap(ControlCore& core, StandstillGate& gate, TrimRounds& trim_rounds)
      : core_(core), gate_(gate), trim_rounds_(trim_rounds) {}

  // Steps 1 and 2. From then on the control thread does not know the attachments any more.
  Task<> take_back(Work& work);
  // Steps 3 to 5.
  Task<> forget(Work& work);
  // ", 12 blocks of 4 KiB given back, 3 leases taken over"
  static std::string outcome(const Work& work);

 private:
  Task<> adopt_leases(Work& work);
  void reap(Work& work);
  Task<> pass_on(Work& work);

  ControlCore& core_;
  StandstillGate& gate_;
  TrimRounds& trim_rounds_;
};

}  // namespace arenad::server
