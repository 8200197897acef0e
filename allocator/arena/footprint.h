// Footprint: the slabs in which a session may hold blocks, or may have left a free unannounced.
//
// Purpose: the reaper looks only into these slabs. A footprint has at most 65536 bits for an arena
// of any size, so a bit stands for 2^shift units. A peer keeps its footprint in control memory
// (FootprintMarker). A shard keeps this class for the sessions that it works for.
// Invariants: a bit is set before the block word is changed, and stays until the session was
// reaped. The bit of a run is the bit of its first unit.
// Threads: the owner's. Crash: private; after the daemon's death the reaper looks everywhere.
#pragma once

#include <cstdint>
#include <vector>

#include "../format/ids.h"

namespace arenad {

inline constexpr std::uint32_t kMaxFootprintBits = 65536;

// log2 of the units that one bit of a footprint stands for.
constexpr std::uint32_t footprint_shift(std::uint32_t unit_count) {
  std::uint32_t shift = 0;
  while ((unit_count >> shift) > kMaxFootprintBits) ++shift;
  return shift;
}

class Footprint {
 public:
  Footprint() = default;
  explicit Footprint(std::uint32_t unit_count)
      : shift_(footprint_shift(unit_count)), words_(((unit_count - 1) >> shift_) / 64 + 1) {}

  void add(SlabIndex slab) {
    const std::uint32_t bit = slab.value >> shift_;
    words_[bit / 64] |= std::uint64_t{1} << (bit % 64);
  }
  void add_all() { words_.assign(words_.size(), ~std::uint64_t{0}); }
  // Of the same arena, or empty.
  void merge(const Footprint& o) {
    if (words_.empty()) *this = o;
    for (std::size_t i = 0; i < o.words_.size(); ++i) words_[i] |= o.words_[i];
  }
  bool has(SlabIndex slab) const {
    const std::uint32_t bit = slab.value >> shift_;
    return bit / 64 < words_.size() && (words_[bit / 64] >> (bit % 64) & 1) != 0;
  }
  bool empty() const {
    for (const std::uint64_t w : words_)
      if (w != 0) return false;
    return true;
  }
  std::uint32_t shift() const { return shift_; }
  std::vector<std::uint64_t>& words() { return words_; }
  const std::vector<std::uint64_t>& words() const { return words_; }

 private:
  std::uint32_t shift_ = 0;
  std::vector<std::uint64_t> words_;
};

}  // namespace arenad
