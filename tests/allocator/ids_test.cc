// Slots: every bit where its header says it is.
#include "allocator/format/ids.h"

#include <gtest/gtest.h>

#include <vector>

namespace arenad {
namespace {

constexpr std::uint32_t kSlabs[] = {0, 1, 7, 8, 9, 31, 32, 255, 4095, 65535, (1u << 26) - 1};
constexpr std::uint32_t kBlocks[] = {0, 1, 63, 64, 65, 511, 512, 4095, 4096, 8191};

TEST(Slot, GivesBackSlabAndBlock) {
  for (const std::uint32_t s : kSlabs)
    for (const std::uint32_t b : kBlocks) {
      const Slot slot = Slot::of({s}, {b});
      ASSERT_EQ(slot.slab().value, s);
      ASSERT_EQ(slot.block().value, b);
    }
}

TEST(Slot, LargestArenaFitsIntoItsBits) {
  const std::uint32_t units =
      static_cast<std::uint32_t>((std::uint64_t{1} << Slot::kBits) / kMaxBlocksPerSlab);
  EXPECT_EQ(Slot::of({units - 1}, {kMaxBlocksPerSlab - 1}).value,
            (std::uint64_t{1} << Slot::kBits) - 1);
}

TEST(Slot, EveryBlockOfAGroupOfEightUnitsHasItsOwnWord) {
  std::vector<bool> seen(8 * kMaxBlocksPerSlab);
  for (std::uint32_t s = 0; s < 8; ++s)
    for (std::uint32_t b = 0; b < kMaxBlocksPerSlab; ++b) {
      const std::uint64_t at = Slot::of({s}, {b}).value;
      ASSERT_LT(at, seen.size());
      ASSERT_FALSE(seen[at]);
      seen[at] = true;
    }
}

TEST(Slot, SixtyFourBlocksOfASlabAreNeighbours) {
  for (std::uint32_t b = 1; b < 64; ++b)
    EXPECT_EQ(Slot::of({5}, {128 + b}).value, Slot::of({5}, {128}).value + b);
}

}  // namespace
}  // namespace arenad
