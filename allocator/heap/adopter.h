// Adopter: takes over runs of heaps that work no more.
//
// Purpose: the end of a session, and the return of a daemon. Only the arena's own process adopts.
// Invariants: the new owner is written first, then the words are read. A freer that read the old
//   owner has set its word and its returned bit before that, so the scan finds the block. A freer
//   that reads later tells the new owner.
// Threads: the adopting heap's owner. Others may free, take over and share the run's blocks
//   meanwhile. The caller has made sure that nobody acts for the dead session.
// Crash: the ledger still names the run, and it is adopted again.
#pragma once

#include <cstdint>

#include "allocator/format/block_word.h"
#include "allocator/format/ids.h"
#include "allocator/heap/counters.h"
#include "allocator/heap/payments.h"
#include "allocator/heap/slab.h"
#include "allocator/heap/slab_table.h"

namespace arenad {

class Arena;
struct ReapResult;

class Adopter {
 public:
  // `id` is the heap that takes the runs, `slabs` are its slabs.
  Adopter(Arena& arena, HeapId id, SlabTable& slabs, HeapCounters& counters)
      : arena_(arena), id_(id), slabs_(slabs), counters_(counters) {}

  // Takes over the run that starts at `first`: its FREE and RETURNING blocks, what `dead` held and
  // what `dead` alone shared. What others hold stays out. A run of which nothing is out goes back
  // to the arena at once. Adds to `result`. A run that is not in the ledger, or is this heap's
  // already, is left alone.
  void adopt(SlabIndex first, SessionId dead, ReapResult& result, PaidBy paid_by = {});

 private:
  void become_owner(SlabIndex first, const RunShape& run);
  void find_carved(SlabState& slab);
  void settle_words(SlabState& slab, SessionId dead, PaidBy paid_by, ReapResult& result);
  SessionId payer_of(BlockWord word, PaidBy paid_by) const;

  Arena& arena_;
  const HeapId id_;
  SlabTable& slabs_;
  HeapCounters& counters_;
};

}  // namespace arenad
