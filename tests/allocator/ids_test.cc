// Slots, refs and block words: every bit where its header says it is.
#include "allocator/format/ids.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "allocator/format/block_word.h"

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

TEST(Slot, LargestArenaFitsIntoFortyBits) {
  const std::uint32_t units =
      static_cast<std::uint32_t>((std::uint64_t{1} << 40) / kMaxBlocksPerSlab);
  EXPECT_EQ(Slot::of({units - 1}, {kMaxBlocksPerSlab - 1}).value, Ref::kSlotMask);
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

TEST(Ref, GivesBackGenerationArenaAndSlot) {
  for (const auto generation : std::to_array<std::uint16_t>({0, 1, 0x1fff, 0x2000, 0x3fff}))
    for (const auto arena : std::to_array<std::uint16_t>({1, 2, 511, 512, 1023})) {
      const Slot slot = Slot::of({12345}, {678});
      const Ref ref = Ref::of(generation, {arena}, slot);
      EXPECT_EQ(ref.generation(), generation);
      EXPECT_EQ(ref.arena().value, arena);
      EXPECT_EQ(ref.slot(), slot);
      EXPECT_NE(ref.value, 0u);
      EXPECT_EQ(ref.value & Ref::kBlockMask, std::uint64_t{arena} << Ref::kArenaShift | slot.value);
    }
}

TEST(BlockWord, ZeroIsFreeInGenerationZero) {
  const BlockWord w(0);
  EXPECT_TRUE(w.is_free());
  EXPECT_EQ(w.tag(), BlockTag::kFree);
  EXPECT_EQ(w.generation(), 0);
}

TEST(BlockWord, HeldKeepsGenerationAndNamesHolderAndTag) {
  const std::uint64_t free_bits = std::uint64_t{0x2abc} << BlockWord::kGenerationShift;
  const BlockWord w(BlockWord::held(free_bits, Holder({65534}, 0xdeadbeef)));
  EXPECT_TRUE(w.is_held());
  EXPECT_FALSE(w.is_free());
  EXPECT_EQ(w.generation(), 0x2abc);
  EXPECT_EQ(w.holder().session().value, 65534);
  EXPECT_EQ(w.holder().tag(), 0xdeadbeefu);
}

TEST(BlockWord, FreeGrowsTheGenerationAndLeavesNothingElse) {
  const std::uint64_t held =
      BlockWord::held(std::uint64_t{41} << BlockWord::kGenerationShift, Holder({7}, 8));
  const BlockWord w(BlockWord::freed(held));
  EXPECT_TRUE(w.is_free());
  EXPECT_EQ(w.generation(), 42);
  EXPECT_EQ(w.bits(), std::uint64_t{42} << BlockWord::kGenerationShift);
}

TEST(BlockWord, GenerationWrapsWithoutTouchingTheTag) {
  const std::uint64_t held = BlockWord::held(BlockWord::kGenerationMask, Holder({7}, 8));
  EXPECT_EQ(BlockWord(held).generation(), 0x3fff);
  EXPECT_EQ(BlockWord::freed(held), 0u);
  EXPECT_EQ(BlockWord(BlockWord::returning(held, {9})).tag(), BlockTag::kReturning);
  EXPECT_EQ(BlockWord(BlockWord::returning(held, {9})).generation(), 0);
}

TEST(BlockWord, ReturningGrowsTheGenerationOnceAndNamesTheFreer) {
  const std::uint64_t held =
      BlockWord::held(std::uint64_t{41} << BlockWord::kGenerationShift, Holder({7}, 8));
  const BlockWord w(BlockWord::returning(held, kReaperSession));
  EXPECT_TRUE(w.is_returning());
  EXPECT_EQ(w.generation(), 42);
  EXPECT_EQ(w.holder().session(), kReaperSession);
  EXPECT_EQ(w.holder().tag(), 0u);
  EXPECT_EQ(BlockWord::free_of(w.bits()), std::uint64_t{42} << BlockWord::kGenerationShift)
      << "the drain adds no generation";
}

TEST(BlockWord, AnyBitBelowTheGenerationMakesItNotFree) {
  for (int bit = 0; bit < BlockWord::kGenerationShift; ++bit)
    EXPECT_FALSE(BlockWord(std::uint64_t{1} << bit).is_free());
  for (int bit = BlockWord::kGenerationShift; bit < BlockWord::kTagShift; ++bit)
    EXPECT_TRUE(BlockWord(std::uint64_t{1} << bit).is_free());
  EXPECT_FALSE(BlockWord(std::uint64_t{1} << 62).is_free());
  EXPECT_FALSE(BlockWord(std::uint64_t{1} << 63).is_free());
}

}  // namespace
}  // namespace arenad
