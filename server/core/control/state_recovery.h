// StateRecovery: what a former daemon has left in the state directory is served again.
//
// Purpose: block words are the truth about blocks, ledgers about runs, and the table of sessions
// about who may come back. The steps:
//   1. open_arenas: arenas are opened. Damaged ones are quarantined. Those of another layout
//      version are left alone.
//   2. open_sessions: the process of each session is looked up. The session of a living process
//      goes on with its key, attachments, leases and limit. A session without a process has a while
//      to come back. A process that cannot be seen from here lives as long as its attach marks
//      stand (attach_mark.h).
//   3. adopt_runs: the shards adopt the runs of the former daemon's heaps, and the runs that were
//      leased to the dead. Living sessions pay for their leases, and for the blocks that the words
//      say they hold. Who was given a block is known to nobody any more.
//   4. reap_dead: what the dead held elsewhere is given back, in one pass over each arena. Words
//      can be forged, so they can name any number of holders.
// Invariants: all of this happens before a shard's thread runs. So nobody is served by halves.
// Threads: the thread that starts the engine. Step 3 runs each shard on a thread of its own for
// that while.
// Crash: every step is taken again by the next daemon.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "server/core/control/control_core.h"
#include "server/core/control/memory_marks.h"
#include "server/core/control/session_traces.h"

namespace arenad::server {

class Liveness;

class StateRecovery {
 public:
  StateRecovery(ControlCore& core, Liveness& liveness) : core_(core), liveness_(liveness) {}

  // Does nothing without a state directory. Errors: kInvalidOption, kModeUnavailable, kMachineFull.
  Answer<Nothing> run();
  // How many sessions were found dead and reaped.
  std::uint64_t dead_sessions() const { return dead_; }
  // What came back from all of them, and from the former daemon's heaps.
  ReapResult given_back() const;

 private:
  using Attached = std::map<ArenaId, AttachMode>;
  // Runs by dead lessee; kNoSession: of the former daemon's heaps.
  using Runs = std::map<SessionId, std::vector<SlabIndex>>;
  struct ArenaRuns {
    std::shared_ptr<ArenaState> state;
    SessionSet attached;
    std::vector<Runs> by_shard;
  };

  Answer<Nothing> open_arenas();
  void say_if_unlocked(const Arena& arena) const;
  Answer<Nothing> open_sessions();
  Answer<Nothing> open_store(bool& lost);
  SessionSet named_in_arenas();
  Answer<Nothing> invent_lost(KeptSession& kept, SessionId id);
  void restore(const KeptSession& kept);
  Caller owner_of(const KeptSession& kept) const;
  Attached attachments_of(SessionId session);
  void watch(SessionRecord& session, FoundProcess process, const MemoryMarks& marks);
  void adopt_runs();
  std::vector<ArenaRuns> runs_to_adopt();
  void adopt_share(std::size_t shard, std::vector<ArenaRuns>& arenas,
                   std::map<SessionId, ReapResult>& given);
  void reap_dead();
  void log_outcome(std::uint64_t began_ns, std::uint64_t opened_ns);

  ControlCore& core_;
  Liveness& liveness_;
  std::map<SessionId, KeptSession> kept_;
  SessionSet living_;
  std::map<SessionId, ReapResult> given_;  // by dead session; kNoSession: the daemon's heaps
  std::uint32_t watched_ = 0, awaited_ = 0, unseen_ = 0, dead_ = 0;
};

}  // namespace arenad::server
