// Reaper: gives back what a dead session held in slabs that are not its own (DESIGN.md, "When a
// process dies").
//
// Purpose: every word that says HELD(dead) becomes RETURNING, the session's bits leave SHARED
//   words, and every block on its way back is announced again. The runs that were leased to the
//   session are adopted instead (allocator/heap).
// Invariants: a freer skips a level whose bit is set. A dead freer may have left a bit at any level
//   although nothing waits below it, so a level is announced again where its bit is set, not only
//   where a block waits. (tests/model found this.)
// Threads: any. Nobody acts for the dead session any more.
// Crash: each step is one CAS or one fetch_or. A reaper that dies is run again; it announces
//   RETURNING(reaper) again.
#pragma once

#include "allocator/arena/arena.h"

namespace arenad {

class Reaper {
 public:
  explicit Reaper(Arena& arena) : arena_(arena) {}

  // See Arena::reap.
  ReapResult reap(SessionId dead, const Footprint* footprint);
  // Announces every block that is on its way to a leased run. The daemon that died may have freed
  // it, for whichever session, and others may have relied on that daemon's bits.
  void announce_leases();

 private:
  struct Dead {
    SessionId session;
    std::uint64_t sharer_bits;
  };
  void reap_run(SlabIndex first, const RunShape& shape, const Dead& dead, ReapResult& result);
  // Takes what the dead session has in one block. Returns whether the block is to be announced.
  bool reap_block(Slot slot, std::uint64_t stride_bytes, const Dead& dead, ReapResult& result);
  static std::uint64_t without(const Dead& dead, BlockWord word);

  Arena& arena_;
};

}  // namespace arenad
