// FootprintMarker: writes a peer's footprint into control memory.
//
// Purpose: before a peer changes a block word of a slab that is not its own, it marks the slab. The
// reaper looks only at marked slabs. An owner's marker is empty and marks nothing, because the
// owner keeps its sessions' footprints in private memory (footprint.h).
// Invariants: a bit is set before the block word is changed. Only the reaper clears it.
// Threads: any. Crash: a bit without a changed word only costs the reaper a look.
#pragma once

#include <atomic>
#include <cstdint>

#include "../base/crash_point.h"
#include "../format/ids.h"

namespace arenad {

class FootprintMarker {
 public:
  FootprintMarker() = default;
  FootprintMarker(std::atomic<std::uint64_t>* bits, std::uint32_t shift)
      : bits_(bits), shift_(shift) {}

  bool empty() const { return bits_ == nullptr; }
  // Cheap when the bit is set already, and when the marker is empty.
  void mark(SlabIndex slab) const {
    if (bits_ == nullptr) return;
    const std::uint32_t bit = slab.value >> shift_;
    std::atomic<std::uint64_t>& word = bits_[bit / 64];
    const std::uint64_t mask = std::uint64_t{1} << (bit % 64);
    if ((word.load(std::memory_order_relaxed) & mask) != 0) return;
    CRASH_POINT("footprint.bit");
    // The CAS of the block word follows. It is a full barrier on x86 and acq_rel elsewhere, so the
    // bit is in memory before the word changes. Pairs with the acquire in Arena::footprint_of.
    word.fetch_or(mask);
  }

 private:
  std::atomic<std::uint64_t>* bits_ = nullptr;
  std::uint32_t shift_ = 0;  // a bit stands for 2^shift units
};

}  // namespace arenad
