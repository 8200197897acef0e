// Drainer: takes back the blocks of one heap that other heaps freed.
//
// Purpose: a freer sets, in this order, the block's word, its returned bit, the superslab's pending
// bit, the heap's pending bit and the heap's summary bit. The drainer goes the opposite way. It
// clears each bit before it looks below it. So a freer that comes in between sets the bit again.
// It has two steps. collect() clears the bits that say which slabs were announced, and lists these
// slabs by class. take() looks at the slabs of one class.
// Invariants: a bit only says where to look. A block is taken if and only if its word is RETURNING
// and it can be away (slab.h). A RETURNING word of another block was forged. So that this is exact,
// a heap that does not serve others takes blocks of a class only while the class's magazine is
// empty. A refill, whose magazine is empty, takes the blocks of its own class; every other drain
// empties the magazine first.
// Threads: the heap's owner; any number of freers at the same time. has_pending: any thread.
// Crash: a block whose word is still RETURNING is found again by the heap that adopts the slab.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "../base/export.h"
#include "../format/ids.h"
#include "block_transfer.h"
#include "counters.h"
#include "magazine.h"
#include "payload_wipe.h"
#include "slab.h"
#include "slab_table.h"

namespace arenad {

class ArenaView;

class ARENAD_API Drainer {
 public:
  // `magazines` are the heap's, by class.
  Drainer(ArenaView& arena, HeapId id, SlabTable& slabs, std::span<Magazine> magazines,
          BlockTransfer& transfer, HeapCounters& counters)
      : arena_(arena),
        id_(id),
        slabs_(slabs),
        magazines_(magazines),
        transfer_(transfer),
        counters_(counters),
        wipe_(arena) {}

  // Whether drain would find something. Reads a word for each 8 GiB in which the heap has slabs.
  bool has_pending() const;
  // Takes back what was announced. Returns blocks.
  std::uint64_t drain();
  // The same for one class, whose magazine is empty. Other classes' slabs stay listed.
  std::uint64_t drain_class(ClassId cls);
  // Takes back what any returned word of this heap's slabs says, announced or not. Returns blocks.
  std::uint64_t drain_all();
  // Drained blocks of slabs, without spans.
  std::uint64_t slab_blocks() const { return counters_.drained_blocks - spans_; }

 private:
  void collect();
  void collect_region(std::uint32_t region);
  void collect_superslab(SuperslabIndex superslab);
  void list(SlabState& slab);
  std::uint64_t take(ClassId cls);
  std::uint64_t take_all();
  std::uint64_t drain_slab(SlabState& slab);
  void forged_word(const SlabState& slab);
  void wipe_returned(const SlabState& slab, BlockIndex first, std::uint64_t bits) const;
  std::uint64_t take_returned(SlabState& slab, std::uint32_t word_index);

  ArenaView& arena_;
  const HeapId id_;
  SlabTable& slabs_;
  const std::span<Magazine> magazines_;
  BlockTransfer& transfer_;
  HeapCounters& counters_;
  const PayloadWipe wipe_;
  // By class: where slabs were announced. A slab may be gone by now. Spans come last.
  std::array<std::vector<SlabIndex>, kMaxClasses + 1> announced_;
  std::uint64_t spans_ = 0;  // part of counters_.drained_blocks
};

}  // namespace arenad
