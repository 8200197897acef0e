// Refs of arenas of every size: their parts come back, and a ref is of the word that it was made
// from until the block was freed as often as there are generations.
#include "allocator/format/ref_layout.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>

#include "tests/support/sizes.h"

namespace arenad {
namespace {

constexpr std::uint64_t kGiB = 1024 * kMiB;
constexpr std::uint64_t kTiB = 1024 * kGiB;
constexpr std::uint64_t kCapacities[] = {
    2 * kMiB, 32 * kGiB, 32 * kGiB + 2 * kMiB, 64 * kGiB, 128 * kGiB, kTiB, 4 * kTiB};

constexpr std::uint64_t units_of(std::uint64_t capacity_bytes) {
  return capacity_bytes / kSlabUnitBytes;
}
constexpr RefLayout layout_of(std::uint64_t capacity_bytes, ArenaId arena = {1}) {
  return {arena, units_of(capacity_bytes) * kMaxBlocksPerSlab};
}

TEST(RefLayout, HasTheBitsOfTheDesign) {
  EXPECT_EQ(layout_of(2 * kMiB).generations(), 1u << 22);
  EXPECT_EQ(layout_of(32 * kGiB).generations(), 1u << 22);
  EXPECT_EQ(layout_of(64 * kGiB).generations(), 1u << 21);
  EXPECT_EQ(layout_of(128 * kGiB).generations(), 1u << 20);
  EXPECT_EQ(layout_of(4 * kTiB).generations(), 1u << 15);
  EXPECT_EQ(layout_of(32 * kGiB).slot_bits(), 32);
  EXPECT_EQ(layout_of(32 * kGiB + 2 * kMiB).slot_bits(), 33);
  EXPECT_EQ(layout_of(4 * kTiB).slot_bits(), Slot::kBits);
}

TEST(RefLayout, GivesBackGenerationArenaAndSlot) {
  for (const std::uint64_t capacity : kCapacities)
    for (const auto arena : std::to_array<std::uint16_t>({1, 2, 511, 512, 1023})) {
      const RefLayout refs = layout_of(capacity, {arena});
      const auto last = static_cast<std::uint32_t>(units_of(capacity) - 1);
      for (const SlabIndex slab : {SlabIndex{0}, SlabIndex{9}, SlabIndex{last}})
        for (const std::uint32_t number :
             {0u, 1u, refs.generations() / 2, refs.generations() - 1}) {
          const Slot slot = Slot::of(slab, {8191});
          const BlockWord word(BlockWord::held(refs.free_word(number), Holder({65534}, 77)));
          const Ref ref = refs.ref_of(slot, word);
          ASSERT_EQ(ref.arena().value, arena);
          ASSERT_EQ(refs.slot_of(ref), slot);
          ASSERT_EQ(refs.slab_of(ref), slab);
          ASSERT_EQ(refs.number_of(word), number);
          ASSERT_EQ(refs.generation_of(ref), word.generation());
          ASSERT_EQ(BlockWord::free_in(refs.generation_of(ref)), refs.free_word(number));
          ASSERT_EQ(BlockWord::free_in(refs.after(word.generation())),
                    BlockWord::freed(word.bits(), refs.step()));
          ASSERT_EQ(refs.entry_of(ref), refs.entry_of(slot));
          ASSERT_EQ(RefLayout::slot_of_entry(refs.entry_of(ref)), slot);
          ASSERT_EQ(RefLayout::ref_of(refs.entry_of(slot), refs.free_word(number)), ref);
          ASSERT_TRUE(refs.is_of(ref, word));
          const BlockWord next(BlockWord::freed(word.bits(), refs.step()));
          ASSERT_EQ(refs.before(refs.ref_of(slot, next)), ref);
        }
    }
}

TEST(RefLayout, RefIsStaleFromTheFreeOnAndUntilTheGenerationsComeRound) {
  for (const std::uint64_t capacity : kCapacities) {
    const RefLayout refs = layout_of(capacity);
    const std::uint64_t first = refs.free_word(refs.generations() - 3);
    const Ref ref = refs.ref_of(Slot::of({0}, {0}), BlockWord(first));
    std::uint64_t word = first;
    for (std::uint32_t frees = 1; frees < refs.generations(); ++frees) {
      word = BlockWord::freed(BlockWord::held(word, Holder({7}, 8)), refs.step());
      ASSERT_TRUE(BlockWord(word).is_free());
      ASSERT_FALSE(refs.is_of(ref, BlockWord(word))) << frees;
    }
    word = BlockWord::freed(word, refs.step());
    EXPECT_EQ(word, first) << "of all generations, each came once";
  }
}

// A peer of a large arena can write generations that no free makes. Their low bits would lie in the
// ref's slot.
TEST(RefLayout, WordBetweenTwoGenerationsIsOfNoRef) {
  const RefLayout refs = layout_of(4 * kTiB);
  const Slot slot = Slot::of({3}, {4});
  const BlockWord forged(refs.free_word(5) + BlockWord::kGenerationOne);
  EXPECT_EQ(refs.slot_of(refs.ref_of(slot, forged)), slot);
  EXPECT_FALSE(refs.is_of(refs.ref_of(slot, forged), forged));
  EXPECT_TRUE(refs.is_free(BlockWord(refs.free_word(5))));
  EXPECT_FALSE(refs.is_free(forged)) << "no heap may give it out";
}

}  // namespace
}  // namespace arenad
