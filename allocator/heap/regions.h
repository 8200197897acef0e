// Regions: in which parts of an arena a heap has slabs.
//
// Purpose: a region is the 8 GiB that one word of the heap's pending summary stands for.
//   The owner looks for announced slabs only in regions in which it has some. So the capacity of an
//   arena costs nothing where the heap has nothing. Nor do bits that a peer forges there.
// Invariants: a region is in the set exactly while the heap has a slab or span that begins there.
//   Nothing is missed by that: a bit of a region without slabs announces no slab of this heap. It
//   stays set. When a slab comes to the region, the region is looked at again, and the bit with it.
// Threads: add and remove by the heap's owner, any_of by any thread. Crash: private.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <vector>

#include "../arena/arena_config.h"
#include "../format/ids.h"

namespace arenad {

class Regions {
 public:
  // A pending word has a bit for each superslab, and the summary a bit for each pending word.
  static constexpr std::uint32_t kSuperslabs = 64 * 64;

  explicit Regions(std::uint32_t superslab_count)
      : slabs_((superslab_count - 1) / kSuperslabs + 1), words_((slabs_.size() - 1) / 64 + 1) {}

  // A slab or span that begins in this superslab comes, or goes.
  void add(SuperslabIndex superslab) {
    const std::uint32_t region = superslab.value / kSuperslabs;
    if (slabs_[region]++ == 0) write(region, bits_[region / 64] | bit(region));
  }
  void remove(SuperslabIndex superslab) {
    const std::uint32_t region = superslab.value / kSuperslabs;
    if (--slabs_[region] == 0) write(region, bits_[region / 64] & ~bit(region));
  }

  // Whether f(region) is true for a region with slabs. Asks no further region then.
  template <class F>
  bool any_of(F&& f) const {
    for (std::uint32_t w = 0; w < words_; ++w)
      for (std::uint64_t bits = bits_[w].load(std::memory_order_relaxed); bits != 0;
           bits &= bits - 1)
        if (f(w * 64 + static_cast<std::uint32_t>(std::countr_zero(bits)))) return true;
    return false;
  }

 private:
  static constexpr std::uint32_t kMaxRegions = kMaxArenaBytes / kSuperslabBytes / kSuperslabs;

  static std::uint64_t bit(std::uint32_t region) { return std::uint64_t{1} << (region % 64); }
  void write(std::uint32_t region, std::uint64_t bits) {
    bits_[region / 64].store(bits, std::memory_order_relaxed);
  }

  std::vector<std::uint32_t> slabs_;  // by region
  const std::size_t words_;           // of bits_ that the arena has
  // A bit for each region with slabs. Only the heap's owner writes it. Relaxed: other threads read
  // a hint, which they get late anyway.
  std::array<std::atomic<std::uint64_t>, kMaxRegions / 64> bits_{};
};

}  // namespace arenad
