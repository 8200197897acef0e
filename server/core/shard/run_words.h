// The block words of a run, read while other processes may change them.
//
// Purpose: counts for facts and accounts. Each word is taken as it was at the moment of its read.
// Invariants: the ledger says how long a run is and how it is cut. Control memory is believed in
// one thing only: how far the run was carved. That number is cut to the run's capacity.
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

// acquire: pairs with the release of carved in BlockTransfer::carve.
inline RunCut cut_of(const Arena& arena, SlabIndex first, RunRecord run) {
  const RunShape shape = arena.geometry().run_shape(run.kind(), run.cls(), run.units());
  RunCut cut{shape.stride_bytes, shape.capacity, 0};
  cut.carved =
      std::min(arena.control().slab(first).carved.load(std::memory_order_acquire), cut.capacity);
  return cut;
}

// Calls f(word) for each carved block of the run. acquire: pairs with the release of the word by
// whoever changed it last.
template <class F>
void for_each_word(const Arena& arena, SlabIndex first, const RunCut& cut, F&& f) {
  for (std::uint32_t b = 0; b < cut.carved; ++b)
    f(BlockWord{arena.word(Slot::of(first, {b})).load(std::memory_order_acquire)});
}

}  // namespace arenad::server
