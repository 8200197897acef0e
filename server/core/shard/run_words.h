// The words of a run, read by whoever may be reading beside the processes that change them.
//
// Purpose: what is out of a run, for facts and accounts: what the words say at the moment at which
// each was read. Invariants: how long a run is and how it is cut comes from the ledger; of control
// memory only `carved` is believed, as far as
//   the run reaches.
// Threads: any. Crash: reads only.
#pragma once

#include <algorithm>
#include <cstdint>

#include "allocator/arena/arena.h"

namespace arenad::server {

struct RunCut {
  std::uint64_t stride_bytes = 0;
  std::uint32_t capacity = 0;
  std::uint32_t carved = 0;
};

inline RunCut cut_of(const Arena& arena, SlabIndex first, RunRecord run) {
  const RunShape shape = arena.geometry().run_shape(run.kind(), run.cls(), run.units());
  RunCut cut{shape.stride_bytes, shape.capacity, 0};
  cut.carved =
      std::min(arena.control().slab(first).carved.load(std::memory_order_acquire), cut.capacity);
  return cut;
}

// Calls f(word) for each carved block of the run.
template <class F>
void for_each_word(const Arena& arena, SlabIndex first, const RunCut& cut, F&& f) {
  for (std::uint32_t b = 0; b < cut.carved; ++b)
    f(BlockWord{arena.word(Slot::of(first, {b})).load(std::memory_order_acquire)});
}

}  // namespace arenad::server
