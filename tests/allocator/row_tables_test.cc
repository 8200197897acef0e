// RowTables: a row's offset plus entry * stride is the payload's place, for every block.
#include "allocator/heap/row_tables.h"
#include "tests/support/refs.h"

#include <gtest/gtest.h>

namespace arenad {
namespace {

SlabState slab_at(std::uint32_t first, std::uint32_t stride, std::uint32_t capacity) {
  SlabState s;
  s.slab = {first};
  s.capacity = capacity;
  s.stride_bytes = stride;
  s.payload_offset = first * kSlabUnitBytes + 1;
  return s;
}

TEST(RowTables, OffsetOfEveryBlockIsThePayloadsOffset) {
  for (const ArenaId arena : {ArenaId{1}, ArenaId{kMaxArenaId}}) {
    RowTables rows(arena, std::uint64_t{1} << 20);
    for (const std::uint32_t stride : {8u, 16u, 513u, 4096u}) {
      const SlabState slab =
          slab_at(9, stride, static_cast<std::uint32_t>(kSlabUnitBytes / stride));
      rows.set(slab, 128);
      for (std::uint32_t b = 0; b < slab.capacity; ++b) {
        const std::uint64_t entry = ref_of(0, arena, Slot::of(slab.slab, {b})).value;
        ASSERT_EQ(rows.offset_of(entry, stride), slab.payload_offset + std::uint64_t{b} * stride);
        const bool part = b / 64 == slab.capacity / 64;
        ASSERT_EQ(rows.magazines()[Slot::of(slab.slab, {b}).value / 64],
                  128u | (part ? RowTables::kPartRow : 0u));
      }
    }
  }
}

TEST(RowTables, ClearedSlabNamesNoMagazineAndItsNeighbourStillDoes) {
  RowTables rows({1}, std::uint64_t{1} << 20);
  const SlabState one = slab_at(8, 256, 256), other = slab_at(9, 256, 256);
  rows.set(one, 128);
  rows.set(other, 256);
  rows.clear(one);
  for (std::uint32_t b = 0; b < one.capacity; b += 64) {
    EXPECT_EQ(rows.magazines()[Slot::of(one.slab, {b}).value / 64], 0u);
    EXPECT_EQ(rows.magazines()[Slot::of(other.slab, {b}).value / 64], 256u);
  }
}

}  // namespace
}  // namespace arenad
