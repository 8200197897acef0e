// Reaper: gives back what dead sessions held in slabs that are not their own (DESIGN.md, "When a
// process dies").
//
// Purpose: every word that says HELD(dead) becomes RETURNING, the dead sessions' bits leave SHARED
//   words, and every block on its way back is announced again. The runs that were leased to a dead
//   session are adopted instead (allocator/heap).
// Invariants: a freer skips a level whose bit is set. A dead freer may have left a bit at any level
//   although nothing waits below it, so a level is announced again where its bit is set, not only
//   where a block waits. (tests/model found this.) Each word is one CAS from what was seen,
//   whether one session is dead or many. So many sessions are reaped in one pass.
// Threads: any. Nobody acts for the dead sessions any more.
// Crash: each step is one CAS or one fetch_or. A reaper that dies is run again; it announces
//   RETURNING(reaper) again.
#pragma once

#include <map>

#include "allocator/arena/arena.h"
#include "allocator/arena/block_debug.h"

namespace arenad {

class Reaper {
 public:
  explicit Reaper(Arena& arena) : arena_(arena), debug_(arena) {}

  // See Arena::reap.
  ReapResult reap(SessionId dead, const Footprint* footprint);
  // See Arena::reap_all_but.
  std::map<SessionId, ReapResult> reap_all_but(const SessionSet& living);
  // Announces every block that is on its way to a leased run. The daemon that died may have freed
  // it, for whichever session, and others may have relied on that daemon's bits.
  void announce_leases();

 private:
  class Dead;
  void reap_run(SlabIndex first, const RunShape& shape, Dead& dead);
  // Takes what dead sessions have in one block. Returns whether the block is to be announced.
  bool reap_block(Slot slot, std::uint64_t stride_bytes, Dead& dead);
  std::uint64_t without(const Dead& dead, BlockWord word) const;

  Arena& arena_;
  const BlockDebug debug_;
};

}  // namespace arenad
