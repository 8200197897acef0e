// BlockTransfer: moves free blocks between the slabs and the magazines of one heap.
//
// Purpose: splice and carve fill a magazine from a slab; flush brings a magazine's blocks back to
// their slabs.
// Invariants: a moved block's word is FREE all the time. The block is in a magazine or in a slab's
// free bitmap, never in both.
// Threads: the heap's owner. Crash: magazines and free bitmaps are private. The only store to
// shared memory is the slab's carved count, which is stored before any of the carved blocks is out.
#pragma once

#include <cstdint>

#include "../arena/block_debug.h"
#include "../base/export.h"
#include "counters.h"
#include "magazine.h"
#include "private_guards.h"
#include "slab.h"
#include "slab_table.h"

namespace arenad {

class ArenaView;

class ARENAD_API BlockTransfer {
 public:
  BlockTransfer(ArenaView& arena, const RowTables& rows, SlabTable& slabs, HeapCounters& counters);

  // Moves up to `most` blocks of a slab that has some into the magazine: free blocks if there are
  // any, else never-used ones. Returns how many. The magazine must have room for them.
  std::uint32_t take(SlabState& slab, Magazine& m, std::uint32_t most);
  // Moves all blocks of a magazine back into their slabs.
  void flush(Magazine& m);
  // Makes room in a magazine whose freed stack is full.
  void make_room(Magazine& m);
  // A free of a block that is at home: ends the process if the private guards are on.
  void guard_forged_free(const SlabState& slab, std::uint64_t entry) const {
    if (PrivateGuards::on()) guards_.freed_twice(slab, entry);
  }

 private:
  std::uint32_t splice(SlabState& slab, Magazine& m, std::uint32_t most);
  std::uint32_t carve(SlabState& slab, Magazine& m, std::uint32_t most);
  void flush_freed(Magazine& m, std::uint32_t count);

  ArenaView& arena_;
  SlabTable& slabs_;
  HeapCounters& counters_;
  const PrivateGuards guards_;
  const BlockDebug debug_;
  const std::uint64_t arena_bits_;  // the arena's field of a ref
};

}  // namespace arenad
