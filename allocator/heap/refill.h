// Refiller: fills an empty magazine, in batches ("P0") or one block at a time.
//
// Purpose: drain, splice, carve, new slab: the slow path of an allocation. Every refill checks its
// own count: what the magazine got must equal the change of the heap's active blocks.
// Invariants: a refill that fails leaves the magazine empty.
// Threads: the heap's owner. Crash: see BlockTransfer and Drainer; nothing here is shared.
#pragma once

#include <cstdint>
#include <functional>

#include "../base/error.h"
#include "../base/export.h"
#include "block_transfer.h"
#include "counters.h"
#include "drainer.h"
#include "magazine.h"
#include "slab_table.h"

namespace arenad {

class ARENAD_API Refiller {
 public:
  // `trim` gives up whatever the heap keeps for other sizes. It is called before a refill fails.
  Refiller(const ArenaView& arena, HeapId id, SlabTable& slabs, BlockTransfer& transfer,
           Drainer& drainer, HeapCounters& counters, std::function<void()> trim);

  // Brings blocks into a magazine whose two stacks are empty. Errors: kQuarantined, kArenaFull,
  // kMachineFull, and those of the heap's SlabSource.
  Error refill(Magazine& m);

 private:
  Error refill_batch(Magazine& m);
  Error refill_one(Magazine& m);
  Error refill_once(Magazine& m, bool batch) { return batch ? refill_batch(m) : refill_one(m); }
  void check(const Magazine& m, std::uint64_t taken, std::uint64_t delta);

  const ArenaView& arena_;
  const HeapId id_;
  SlabTable& slabs_;
  BlockTransfer& transfer_;
  Drainer& drainer_;
  HeapCounters& counters_;
  const std::function<void()> trim_;
};

}  // namespace arenad
