// Sizes above the largest class: runs of units and of whole superslabs.
#include <cstring>

#include "tests/allocator/arena_fixture.h"

namespace arenad {
namespace {

using SpanTest = ArenaWithHeaps;

TEST_F(SpanTest, SpansOfAllSizesAreDisjointWritableAndCounted) {
  make(64 * kMiB);
  std::vector<Allocation> spans;
  std::uint64_t units = 0;
  const std::uint64_t sizes[] = {131073,
                                 200000,
                                 5 * kSlabUnitBytes,
                                 kSuperslabBytes - 1,
                                 kSuperslabBytes,
                                 kSuperslabBytes + 1,
                                 9 * kMiB};
  for (const std::uint64_t size : sizes) {
    spans.push_back(take(1, size)[0]);
    units += arena().geometry().span_units(size);
    EXPECT_EQ(arena().units().taken_units(), units);
    EXPECT_EQ(spans.back().offset % kSlabUnitBytes, 0u);
    const BlockFacts info = arena().describe({spans.back().ref.value});
    EXPECT_EQ(info.state, BlockFacts::State::kHeld);
    EXPECT_EQ(info.cls, kSpanClass);
    EXPECT_EQ(info.stride_bytes, arena().geometry().span_units(size) * kSlabUnitBytes);
    std::memset(arena().data() + spans.back().offset, static_cast<int>(spans.size()), size);
  }
  for (std::size_t i = 0; i < spans.size(); ++i) {
    const std::byte* p = arena().data() + spans[i].offset;
    EXPECT_EQ(p[0], static_cast<std::byte>(i + 1));
    EXPECT_EQ(p[sizes[i] - 1], static_cast<std::byte>(i + 1));
  }
  expect_exact();
  give(spans);
  EXPECT_EQ(arena().units().taken_units(), 0u) << "a span's memory goes back at its free";
}

TEST_F(SpanTest, OneSpanMayBeTheWholeArena) {
  make(16 * kMiB);
  for (int round = 0; round < 3; ++round) {
    const Allocation whole = take(1, 16 * kMiB)[0];
    EXPECT_EQ(whole.offset, 0u);
    EXPECT_EQ(heap().allocate(1, kHolder).error(), Error::kArenaFull);
    EXPECT_EQ(heap().allocate(16 * kMiB, kHolder).error(), Error::kArenaFull);
    expect_exact();
    give({whole});
  }
  EXPECT_EQ(heap().allocate(16 * kMiB + 1, kHolder).error(), Error::kInvalidSize);
}

TEST_F(SpanTest, CachedBlocksDoNotStandInTheWayOfASpan) {
  make(16 * kMiB);
  give(take(10000, 64));
  const Allocation whole = take(1, 16 * kMiB)[0];
  give({whole});
}

TEST_F(SpanTest, DoubleFreeAndStaleRefOfASpanAreRefused) {
  make(16 * kMiB);
  const Allocation first = take(1, 3 * kMiB)[0];
  give({first});
  EXPECT_NE(heap().free(first.ref), Error::kNone);
  EXPECT_EQ(heap().free_checked({first.ref.value}, {1}, kNoSession).error, Error::kStaleRef);
  const Allocation second = take(1, 3 * kMiB)[0];
  ASSERT_EQ(second.offset, first.offset);
  EXPECT_NE(second.ref, first.ref);
  EXPECT_EQ(heap().free(first.ref), Error::kStaleRef);
  give({second});
}

TEST_F(SpanTest, SpanFreedByAnotherHeapComesBackAtTheOwnersDrain) {
  make(16 * kMiB, 2);
  const Allocation small = take(1, 300000)[0];
  const Allocation large = take(1, 5 * kMiB)[0];
  const Allocation kept = take(1, 300000)[0];
  give({small, large}, 1);
  EXPECT_EQ(heap(1).free(large.ref), Error::kDoubleFree);
  heap(1).publish();
  EXPECT_TRUE(heap(0).has_pending());
  expect_exact();
  EXPECT_EQ(heap(0).drain(), 2u);
  EXPECT_EQ(arena().units().taken_units(), arena().geometry().span_units(300000));
  EXPECT_EQ(heap(1).counters().remote_frees, 2u);
  EXPECT_EQ(heap(0).counters().drained_blocks, 2u);
  give({kept}, 1);
  trim_all();
  EXPECT_EQ(arena().units().taken_units(), 0u);
}

TEST_F(SpanTest, FullArenaTakesBackSpansThatOthersFreedBeforeItFails) {
  make(8 * kMiB, 2);
  const Allocation a = take(1, 8 * kMiB)[0];
  give({a}, 1);
  heap(1).publish();
  const Allocation b = take(1, 8 * kMiB)[0];
  EXPECT_EQ(b.offset, 0u);
  give({b});
}

TEST_F(SpanTest, FragmentedArenaHasNoRoomForAWholeSuperslab) {
  make(4 * kMiB);
  std::vector<Allocation> spans = take_all(4 * kSlabUnitBytes);
  EXPECT_EQ(spans.size(), 16u);
  std::vector<Allocation> kept;
  for (const Allocation& b : spans) {
    if (b.offset % kSuperslabBytes == 0)
      kept.push_back(b);
    else
      give({b});
  }
  EXPECT_EQ(kept.size(), 2u);
  EXPECT_EQ(heap().allocate(kSuperslabBytes, kHolder).error(), Error::kArenaFull);
  EXPECT_TRUE(heap().allocate(28 * kSlabUnitBytes, kHolder).ok())
      << "but for all that is left of one";
  expect_exact();
}

}  // namespace
}  // namespace arenad
