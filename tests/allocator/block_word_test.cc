// Block words: every bit where its header says it is.
#include "allocator/format/block_word.h"

#include <gtest/gtest.h>

namespace arenad {
namespace {

constexpr GenerationStep kStep{BlockWord::kGenerationOne, BlockWord::kGenerationMask};

TEST(BlockWord, ZeroIsFreeInGenerationZero) {
  const BlockWord w(0);
  EXPECT_TRUE(w.is_free());
  EXPECT_EQ(w.tag(), BlockTag::kFree);
  EXPECT_EQ(w.generation(), 0);
}

TEST(BlockWord, HeldKeepsGenerationAndNamesHolderAndTag) {
  const std::uint64_t free_bits = std::uint64_t{0x2abcde} << BlockWord::kGenerationShift;
  const BlockWord w(BlockWord::held(free_bits, Holder({65534}, 0xdeadbe)));
  EXPECT_TRUE(w.is_held());
  EXPECT_FALSE(w.is_free());
  EXPECT_EQ(w.generation(), 0x2abcde);
  EXPECT_EQ(w.holder().session().value, 65534);
  EXPECT_EQ(w.holder().tag(), 0xdeadbeu);
}

TEST(BlockWord, FreeGrowsTheGenerationAndLeavesNothingElse) {
  const std::uint64_t held =
      BlockWord::held(std::uint64_t{41} << BlockWord::kGenerationShift, Holder({7}, 8));
  const BlockWord w(BlockWord::freed(held, kStep));
  EXPECT_TRUE(w.is_free());
  EXPECT_EQ(w.generation(), 42);
  EXPECT_EQ(w.bits(), std::uint64_t{42} << BlockWord::kGenerationShift);
}

TEST(BlockWord, GenerationWrapsWithoutTouchingTheTag) {
  const std::uint64_t held = BlockWord::held(BlockWord::kGenerationMask, Holder({7}, 8));
  EXPECT_EQ(BlockWord(held).generation(), BlockWord::kMaxGeneration);
  EXPECT_EQ(BlockWord::freed(held, kStep), 0u);
  EXPECT_EQ(BlockWord(BlockWord::returning(held, {9}, kStep)).tag(), BlockTag::kReturning);
  EXPECT_EQ(BlockWord(BlockWord::returning(held, {9}, kStep)).generation(), 0);
}

TEST(BlockWord, ReturningGrowsTheGenerationOnceAndNamesTheFreer) {
  const std::uint64_t held =
      BlockWord::held(std::uint64_t{41} << BlockWord::kGenerationShift, Holder({7}, 8));
  const BlockWord w(BlockWord::returning(held, kReaperSession, kStep));
  EXPECT_TRUE(w.is_returning());
  EXPECT_EQ(w.generation(), 42);
  EXPECT_EQ(w.holder().session(), kReaperSession);
  EXPECT_EQ(w.holder().tag(), 0u);
  EXPECT_EQ(BlockWord::free_of(w.bits()), std::uint64_t{42} << BlockWord::kGenerationShift)
      << "the drain adds no generation";
}

TEST(BlockWord, TagOfMoreThanItsBitsNamesNobodyElse) {
  const Holder holder({7}, Holder::kMaxTag + 3);
  EXPECT_EQ(holder.session().value, 7);
  EXPECT_EQ(holder.tag(), 2u);
  EXPECT_EQ(Holder({7}, 0).tagged(Holder::kMaxTag + 3), holder);
}

TEST(BlockWord, HeldOfAGenerationIsThatTagAndThatGenerationOnly) {
  const std::uint64_t free_bits = std::uint64_t{41} << BlockWord::kGenerationShift;
  const std::uint64_t held = BlockWord::held(free_bits, Holder({7}, 8));
  EXPECT_TRUE(BlockWord(held).is_held_of(41));
  EXPECT_FALSE(BlockWord(free_bits).is_held_of(41));
  EXPECT_FALSE(BlockWord(held).is_held_of(42));
  EXPECT_FALSE(BlockWord(BlockWord::shared(held, 1)).is_held_of(41));
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
