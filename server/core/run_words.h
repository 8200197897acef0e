// The words of a run, read by whoever may be reading beside the processes that change them.
//
// Purpose: what is out of a run, for facts and accounts: what the words say at the moment at which each was read.
// Invariants: how long a run is and how it is cut comes from the ledger; of control memory only `carved` is believed, as far as
//   the run reaches.
// Threads: any. Crash: reads only.
#pragma once

#include <algorithm>
#include <cstdint>

#include "allocator/arena.h"

namespace arenad::server {

// Calls f(word, stride in bytes) for each block of the run that is held or shared.
template <class F>
void for_each_block_out(const Arena& arena, SlabIndex first, RunRecord run, F&& f) {
  const bool span = run.kind() == SlabKind::kSpan;
  const std::uint64_t stride = span ? run.units() * kSlabUnitBytes : arena.geometry().size_class(run.cls()).stride_bytes;
  const std::uint32_t capacity = span ? 1 : arena.geometry().size_class(run.cls()).capacity;
  const std::uint32_t carved = std::min(arena.control().slab(first).carved.load(std::memory_order_acquire), capacity);
  for (std::uint32_t b = 0; b < carved; ++b) {
    const BlockWord word{arena.word(Slot::of(first, {b})).load(std::memory_order_acquire)};
    if (word.is_held() || word.is_shared()) f(word, stride);
  }
}

}  // namespace arenad::server
