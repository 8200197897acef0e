// ClassUsage: one size class in one heap, at this moment: the columns of /proc/slabinfo.
#pragma once

#include <cstdint>

#include "../format/ids.h"

namespace arenad {

struct ClassUsage {
  ClassId cls;  // kSpanClass for spans
  std::uint64_t slabs = 0;
  std::uint64_t active_slabs = 0;  // with a block out
  std::uint64_t capacity_blocks = 0;
  std::uint64_t active_blocks = 0;  // carved and not in a free bitmap: held, returning or cached
  std::uint64_t cached_blocks = 0;  // in the magazine
  std::uint64_t free_blocks = 0;    // in free bitmaps
  std::uint64_t uncarved_blocks = 0;
  std::uint64_t slab_bytes = 0;  // sum over slabs
};

}  // namespace arenad
