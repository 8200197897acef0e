// Drainer: blocks that another heap freed come home: gather, publish, drain, and bits that lie.
#include "allocator/heap/drainer.h"

#include <algorithm>

#include "tests/allocator/arena_fixture.h"
#include "tests/support/refs.h"

namespace arenad {
namespace {

class DrainerTest : public ArenaWithHeaps {
 protected:
  // Sets returned bits by hand and announces them, as a late, repeated or spurious freer would.
  void announce(Slot slot) {
    arena().publish_returned(slot.value >> 6, std::uint64_t{1} << (slot.value & 63), true);
  }
  BlockFacts::State state(const Allocation& b) {
    return arena()
        .describe({ref_of(BlockWord(word(b.ref).load()).generation(), arena().id(), slot_of(b.ref))
                       .value})
        .state;
  }
};

TEST_F(DrainerTest, PublishedBlocksComeHomeAtTheDrainAndAreGivenOutAgain) {
  make(8 * kMiB, 2);
  const auto blocks = take(1000, 128);
  give(blocks, 1);
  heap(1).publish();
  EXPECT_FALSE(heap(1).has_unpublished());
  EXPECT_TRUE(heap(0).has_pending());
  VerifyReport r = report();
  EXPECT_EQ(r.returning, 1000u);
  EXPECT_TRUE(r.exact()) << findings_of(r);
  EXPECT_EQ(heap(0).drain(), 1000u);
  EXPECT_FALSE(heap(0).has_pending());
  EXPECT_EQ(heap(0).drain(), 0u);
  EXPECT_EQ(report().returning, 0u);
  EXPECT_EQ(heap(1).counters().remote_frees, 1000u);
  EXPECT_EQ(heap(0).counters().drained_blocks, 1000u);
  EXPECT_EQ(heap(1).remote_frees_to()[0], 1000u);
}

TEST_F(DrainerTest, GatheredFreesAreSilentUntilPublished) {
  make(8 * kMiB, 2);
  const auto blocks = take(10, 128);
  give(blocks, 1);
  EXPECT_TRUE(heap(1).has_unpublished());
  EXPECT_FALSE(heap(0).has_pending());
  EXPECT_EQ(heap(0).drain(), 0u);
  for (const Allocation& b : blocks) EXPECT_EQ(state(b), BlockFacts::State::kReturning);
  heap(1).publish();
  EXPECT_EQ(heap(0).drain(), 10u);
}

TEST_F(DrainerTest, OverdueGatherPublishesByItself) {
  make(64 * kMiB, 2);
  // Blocks spread over so many words that none completes: one in 64 of each.
  const auto blocks = take(64 * 40, 512);
  std::uint64_t freed = 0;
  for (int round = 0; round < 60 && !heap(0).has_pending(); ++round)
    for (std::size_t i = static_cast<std::size_t>(round); i < blocks.size(); i += 64, ++freed)
      ASSERT_EQ(heap(1).free(blocks[i].ref), Error::kNone);
  EXPECT_TRUE(heap(0).has_pending());
  EXPECT_LE(freed, 1100u);
  EXPECT_GT(heap(0).drain(), 900u);
}

TEST_F(DrainerTest, WholeWordIsPublishedAtItsLastBlock) {
  make(8 * kMiB, 2);
  auto blocks = take(64, 512);
  std::sort(blocks.begin(), blocks.end(),
            [](const Allocation& a, const Allocation& b) { return a.offset < b.offset; });
  ASSERT_EQ(slot_of(blocks[0].ref).block().value, 0u);
  ASSERT_EQ(slot_of(blocks[63].ref).block().value, 63u);
  give(blocks, 1);
  EXPECT_FALSE(heap(1).has_unpublished());
  EXPECT_EQ(heap(0).drain(), 64u);
}

TEST_F(DrainerTest, DoubleFreeAndStaleRefAreRefusedRemotelyToo) {
  make(8 * kMiB, 3);
  const Allocation b = take(1, 128)[0];
  give({b}, 1);
  EXPECT_EQ(heap(1).free(b.ref), Error::kDoubleFree);
  EXPECT_EQ(heap(2).free(b.ref), Error::kDoubleFree);
  EXPECT_EQ(heap(0).free(b.ref), Error::kDoubleFree) << "the owner as well, before its drain";
  heap(1).publish();
  heap(0).drain();
  EXPECT_EQ(heap(2).free(b.ref), Error::kDoubleFree);
  Allocation again = take(1, 128)[0];
  while (again.offset != b.offset) again = take(1, 128)[0];
  EXPECT_NE(generation_of(again.ref), generation_of(b.ref));
  EXPECT_EQ(heap(2).free(b.ref), Error::kStaleRef);
  EXPECT_EQ(heap(0).free(b.ref), Error::kStaleRef);
}

TEST_F(DrainerTest, DrainIgnoresReturnedBitWhoseWordIsFreeOrHeld) {
  make(8 * kMiB, 2);
  const auto blocks = take(3, 128);
  give({blocks[1]});  // FREE, in the magazine
  for (const Allocation& b : blocks) announce(slot_of(b.ref));
  const Slot uncarved = Slot::of(slot_of(blocks[0].ref).slab(), {511});
  ASSERT_GE(uncarved.block().value, control().slab(uncarved.slab()).carved.load());
  announce(uncarved);
  EXPECT_TRUE(heap(0).has_pending());
  EXPECT_EQ(heap(0).drain(), 0u);
  EXPECT_EQ(state(blocks[0]), BlockFacts::State::kHeld);
  EXPECT_EQ(state(blocks[1]), BlockFacts::State::kFree);
  EXPECT_EQ(heap(0).counters().guard_trips, 0u);
  expect_exact();
  give({blocks[0], blocks[2]});
}

TEST_F(DrainerTest, RepeatedBitOfABlockThatCameHomeIsHarmless) {
  make(8 * kMiB, 2);
  const auto blocks = take(64, 128);
  give(blocks, 1);
  heap(1).publish();
  EXPECT_EQ(heap(0).drain(), 64u);
  for (const Allocation& b : blocks) announce(slot_of(b.ref));
  EXPECT_EQ(heap(0).drain(), 0u);
  expect_exact();
  const auto again = take(600, 128);  // the same blocks among them
  for (const Allocation& b : blocks) announce(slot_of(b.ref));
  EXPECT_EQ(heap(0).drain(), 0u) << "HELD by somebody new";
  expect_exact();
  give(again);
}

TEST_F(DrainerTest, BitsAtAndBeyondTheCapacityAreMasked) {
  make(8 * kMiB, 2);
  const Allocation b = take(1, 3000)[0];
  const SlabIndex slab = slot_of(b.ref).slab();
  const std::uint32_t capacity = SlabShape{control().slab(slab).shape.load()}.capacity();
  ASSERT_NE(capacity % 64, 0u);
  for (std::uint32_t i = capacity; i < 128; ++i) announce(Slot::of(slab, {i}));
  EXPECT_EQ(heap(0).drain(), 0u);
  heap(0).trim();  // looks at all words, pending or not
  EXPECT_EQ(state(b), BlockFacts::State::kHeld);
  expect_exact();
  give({b});
}

TEST_F(DrainerTest, PendingBitsWithNothingBelowAreHarmless) {
  make(8 * kMiB, 2);
  const auto blocks = take(5, 128);
  for (std::uint32_t i = 0; i < control().pending_summary_count(); ++i)
    control().pending_summary({0})[i].store(~std::uint64_t{0});
  for (std::uint32_t i = 0; i < control().pending_word_count(); ++i)
    control().pending_words({0})[i].store(~std::uint64_t{0});
  control().superslab({0}).pending.store(~std::uint32_t{0});
  EXPECT_EQ(heap(0).drain(), 0u) << "bits beyond the arena and of slabs that are not mine";
  expect_exact();
  give(blocks, 1);
  heap(1).publish();
  EXPECT_EQ(heap(0).drain(), 5u) << "and hide nothing that comes later";
  trim_all();
  EXPECT_EQ(arena().units().taken_units(), 0u);
}

TEST_F(DrainerTest, LateBitOfASlabThatWentBackDoesNotReachItsNextLife) {
  make(2 * kMiB, 2);
  const Allocation b = take(1, 128)[0];
  give({b});
  heap(0).trim();
  announce(slot_of(b.ref));          // nobody's slab
  const auto next = take(16, 4096);  // a slab of a class with one returned word, in the same place
  ASSERT_EQ(slot_of(next[0].ref).slab(), slot_of(b.ref).slab());
  EXPECT_EQ(heap(0).drain(), 0u);
  expect_exact();
  give(next, 1);
  heap(1).publish();
  EXPECT_EQ(heap(0).drain(), next.size()) << "and hides no free of it";
}

TEST_F(DrainerTest, TwoHeapsInOneSuperslabGetEachTheirOwn) {
  make(2 * kMiB, 3);
  const auto a = take(100, 128, 0), b = take(100, 128, 1);
  ASSERT_EQ(a[0].offset / kSuperslabBytes, b[0].offset / kSuperslabBytes);
  give(a, 2);
  give(b, 2);
  heap(2).publish();
  EXPECT_EQ(heap(0).drain(), 100u);
  EXPECT_TRUE(heap(1).has_pending()) << "the neighbour's drain left its pending bits alone";
  EXPECT_EQ(heap(1).drain(), 100u);
  EXPECT_EQ(heap(2).remote_frees_to()[0], 100u);
  EXPECT_EQ(heap(2).remote_frees_to()[1], 100u);
  give(take(50, 128, 0), 1);
  give(take(50, 128, 1), 0);
  trim_all();
  trim_all();
  EXPECT_EQ(arena().units().taken_units(), 0u);
}

TEST_F(DrainerTest, EightByteBlocksUseTheOverflowWordsToo) {
  make(2 * kMiB, 2);
  const auto blocks = take(3 * kMaxBlocksPerSlab, 8);
  give(blocks, 1);
  heap(1).publish();
  bool overflow = false;
  for (std::uint32_t w = kInlineReturnedWords; w < kReturnedWordsPerUnit; ++w)
    overflow |= control().returned(slot_of(blocks[0].ref).slab(), w).load() != 0;
  EXPECT_TRUE(overflow);
  EXPECT_EQ(heap(0).drain(), blocks.size());
  give(take(3 * kMaxBlocksPerSlab, 8));
}

TEST_F(DrainerTest, WithoutDrainInRefillsRemoteFreesAreNeverLost) {
  KeepTunables keep;
  tunables().p0_no_drain = true;
  for (const char* taker : {"idle_tick", "trim", "drain", "failing heap"}) {
    heaps_.clear();
    make(4 * kMiB, 2);
    const auto blocks = take_all(1000);
    give(blocks, 1);
    heap(1).publish();
    ASSERT_EQ(report().returning, blocks.size());
    if (std::string(taker) == "idle_tick") heap(0).idle_tick();
    if (std::string(taker) == "trim") heap(0).trim();
    if (std::string(taker) == "drain") heap(0).drain();
    if (std::string(taker) == "failing heap") give(take(1, 100000));
    EXPECT_EQ(report().returning, 0u) << taker;
    expect_exact();
  }
}

TEST_F(DrainerTest, HeapThatWouldFailLooksAtAllItsReturnedWordsPendingOrNot) {
  make(4 * kMiB, 2);
  const auto blocks = take_all(1000);
  give(blocks, 1);
  heap(1).publish();
  for (std::uint32_t i = 0; i < control().pending_summary_count(); ++i)
    control().pending_summary({0})[i].store(0);  // the announcement died
  ASSERT_FALSE(heap(0).has_pending());
  EXPECT_EQ(take(1, 1000).size(), 1u);
}

TEST_F(DrainerTest, IdleTickKeepsWhatWasUsedSinceTheLastOne) {
  make(8 * kMiB);
  const auto blocks = take(600, 128);
  heap(0).idle_tick();
  give(blocks);
  give(take(1, 128));
  EXPECT_EQ(heap(0).idle_tick(), 0u) << "the class is in use";
  EXPECT_GT(arena().units().taken_units(), 0u);
  EXPECT_GT(heap(0).idle_tick(), 0u);
  EXPECT_EQ(arena().units().taken_units(), 0u);
}

}  // namespace
}  // namespace arenad
