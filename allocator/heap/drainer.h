// Drainer: takes back the blocks of one heap that other heaps freed.
//
// Purpose: a freer sets, in this order, the block's word, its returned bit, the superslab's pending
// bit, the heap's pending bit and the heap's summary bit. The drainer goes the opposite way. It
// clears each bit before it looks below it. So a freer that comes in between sets the bit again.
// Invariants: a bit only says where to look. A block is taken if and only if its word is RETURNING.
// Threads: the heap's owner; any number of freers at the same time. has_pending: any thread.
// Crash: a block whose word is still RETURNING is found again by the heap that adopts the slab.
#pragma once

#include <cstdint>

#include "../base/export.h"
#include "counters.h"
#include "slab.h"
#include "slab_table.h"

namespace arenad {

class ArenaView;

class ARENAD_API Drainer {
 public:
  Drainer(ArenaView& arena, HeapId id, SlabTable& slabs, HeapCounters& counters)
      : arena_(arena), id_(id), slabs_(slabs), counters_(counters) {}

  // Whether drain would find something. Reads a few words.
  bool has_pending() const;
  // Takes back what was announced. Returns blocks.
  std::uint64_t drain();
  // Takes back what any returned word of this heap's slabs says, announced or not. Returns blocks.
  std::uint64_t drain_all();
  // Drained blocks of slabs, without spans.
  std::uint64_t slab_blocks() const { return counters_.drained_blocks - spans_; }

 private:
  std::uint64_t drain_superslab(SuperslabIndex superslab);
  std::uint64_t drain_slab(SlabState& slab);
  void forged_word(const SlabState& slab);
  std::uint64_t take_returned(SlabState& slab, std::uint32_t word_index);

  ArenaView& arena_;
  const HeapId id_;
  SlabTable& slabs_;
  HeapCounters& counters_;
  std::uint64_t spans_ = 0;  // part of counters_.drained_blocks
};

}  // namespace arenad
