// ArenaRecovery: makes an arena that a dead daemon left fit for use again.
//
// Purpose: the ledger says which runs exist. All other units are free. A superslab without a run
// gives its memory back to the system, unless the arena is pinned. An arena whose data has holes
// that cannot be filled is quarantined. Nothing is adopted here: whoever adopts a run looks at the
// words of the run.
// Invariants: runs that are leased to living peers stay as they are. The daemon that died may have
// freed blocks of them without setting a bit, so every block on its way to a peer is announced
// again.
// Threads: one, before anybody else has the arena.
// Crash: run again from the start.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "allocator/arena/arena.h"

namespace arenad {

class ArenaRecovery {
 public:
  ArenaRecovery(Arena& arena, Committer& committer, const ArenaFiles& files)
      : arena_(arena), committer_(committer), files_(files) {}

  // Errors: kInvalidOption with what is damaged, kMachineFull.
  Failure run();

 private:
  // Checks every record of the ledger, and collects the units that runs have, by superslab.
  Failure read_ledger();
  Failure check_run(SlabIndex first, RunRecord run) const;
  Failure restore_superslabs();
  Failure no_memory(const std::string& path) const;
  // A run that was granted in the daemon's last instant may lack the pages of its words.
  Failure commit_words();

  Arena& arena_;
  Committer& committer_;
  const ArenaFiles& files_;
  std::vector<std::uint32_t> taken_;  // by superslab: bit u says that a run has unit u
};

}  // namespace arenad
