// One heap: sizes, alignment, refusals, a full arena, slabs that come and go.
#include "allocator/heap/heap.h"

#include <algorithm>
#include <map>
#include <utility>

#include "allocator/base/tunables.h"
#include "tests/allocator/arena_fixture.h"
#include "tests/support/refs.h"

namespace arenad {
namespace {

using HeapTest = ArenaWithHeaps;

// Blocks as [offset, end) may not touch each other.
void expect_disjoint(const std::map<std::uint64_t, std::uint64_t>& ends) {
  std::uint64_t last = 0;
  for (const auto& [offset, end] : ends) {
    ASSERT_GE(offset, last);
    last = end;
  }
}

TEST_F(HeapTest, BlocksOfEverySizeAreDisjointAlignedAndHeld) {
  make(64 * kMiB);
  std::map<std::uint64_t, std::uint64_t> ends;
  std::vector<Allocation> blocks;
  const Geometry& g = arena().geometry();
  std::uint32_t below = 0;  // usable bytes of the class below
  for (const ClassId cls : g.classes()) {
    const std::uint32_t usable = g.size_class(cls).usable_bytes;
    for (const std::uint32_t size : {usable, usable - 7, std::exchange(below, usable) + 1}) {
      const auto b = heap().allocate(size, kHolder);
      ASSERT_TRUE(b.ok()) << size;
      EXPECT_EQ(b->offset % (size <= 8 ? 8 : 16), 0u) << size;
      ends[b->offset] = b->offset + size;
      blocks.push_back(*b);
      const BlockFacts info = arena().describe({b->ref.value});
      EXPECT_EQ(info.state, BlockFacts::State::kHeld);
      EXPECT_EQ(info.offset_bytes, b->offset);
      EXPECT_GE(info.usable_bytes, size);
      EXPECT_EQ(info.holder.session(), kHolder.session());
      EXPECT_EQ(info.holder.tag(), kHolder.tag());
      EXPECT_EQ(info.heap, HeapId{0});
    }
  }
  EXPECT_EQ(ends.size(), blocks.size());
  expect_disjoint(ends);
  expect_exact();
  give(blocks);
}

// The fast paths reckon payload offsets modulo 2^64 from a ref's arena and slot together.
TEST(HeapOfTheLastArena, OffsetsAreThoseThatTheArenaKnows) {
  ArenaConfig options;
  options.id = {kMaxArenaId};
  options.capacity_bytes = 64 * kMiB;
  const auto arena = Arena::create(options);
  ASSERT_TRUE(arena.ok()) << arena.error().message;
  Heap heap(**arena, HeapId{0}, kHolder.session());
  std::vector<Allocation> blocks;
  std::uint64_t highest = 0;
  for (std::uint64_t i = 0; i < 20'000; ++i) {
    const auto b = heap.allocate(1 + i * 7919 % 4096, kHolder);
    ASSERT_TRUE(b.ok()) << error_advice(b.error());
    ASSERT_EQ(b->offset, (*arena)->describe({b->ref.value}).offset_bytes) << i;
    highest = std::max(highest, b->offset);
    blocks.push_back(*b);
  }
  EXPECT_GT(highest, 32u * kMiB);
  for (const Allocation& b : blocks) ASSERT_EQ(heap.free(b.ref), Error::kNone);
  const Heap* const heaps[] = {&heap};
  EXPECT_TRUE(verify(**arena, heaps).exact());
}

TEST_F(HeapTest, BlocksOfOneSizeFillTheirSlabsWithoutOverlapInEveryLayout) {
  for (const Layout layout : {Layout::plain(), Layout::headered(), Layout::redzoned()}) {
    heaps_.clear();
    make(8 * kMiB, 1, layout);
    std::map<std::uint64_t, std::uint64_t> ends;
    const auto blocks = take(3000, 512);
    for (const Allocation& b : blocks)
      ends[b.offset - layout.header_bytes] = b.offset + 512 + layout.trailer_bytes;
    EXPECT_EQ(ends.size(), blocks.size());
    expect_disjoint(ends);
    EXPECT_LE(ends.rbegin()->second, arena().capacity_bytes());
    expect_exact();
    give(blocks);
    expect_exact();
  }
}

TEST_F(HeapTest, AlignmentUpToFourKiBIsKept) {
  make(32 * kMiB);
  std::vector<Allocation> blocks;
  for (std::uint32_t align = 1; align <= 4096; align *= 2)
    for (const std::uint64_t size : {1, 100, 4096, 5000, 100000, 200000}) {
      const auto b = heap().allocate_aligned(size, align, kHolder);
      ASSERT_TRUE(b.ok()) << size << " at " << align;
      EXPECT_EQ(b->offset % align, 0u);
      blocks.push_back(*b);
    }
  expect_exact();
  give(blocks);
  EXPECT_EQ(heap().allocate_aligned(64, 8192, kHolder).error(), Error::kInvalidAlignment);
  EXPECT_EQ(heap().allocate_aligned(64, 3, kHolder).error(), Error::kInvalidAlignment);
  EXPECT_EQ(heap().allocate_aligned(200000, 8192, kHolder).error(), Error::kInvalidAlignment)
      << "a span's too";
  EXPECT_EQ(heap().allocate_aligned(200000, 48, kHolder).error(), Error::kInvalidAlignment);
}

TEST_F(HeapTest, SizeZeroAndAboveTheCapacityAreInvalid) {
  make(4 * kMiB);
  EXPECT_EQ(heap().allocate(0, kHolder).error(), Error::kInvalidSize);
  EXPECT_EQ(heap().allocate_aligned(0, 0, kHolder).error(), Error::kInvalidSize);
  EXPECT_EQ(heap().allocate(4 * kMiB + 1, kHolder).error(), Error::kInvalidSize);
  for (const std::uint64_t size :
       {UINT64_MAX, UINT64_MAX - 6,
        UINT64_MAX - 7})  // around where the fast path's sum is too large
    EXPECT_EQ(heap().allocate(size, kHolder).error(), Error::kInvalidSize) << size;
  Allocation none[1];
  EXPECT_EQ(heap().allocate_batch(0, 0, kHolder, none), Error::kInvalidSize);
}

TEST_F(HeapTest, FullArenaSaysSoAndRecovers) {
  make(4 * kMiB);
  for (const std::uint64_t size : {8, 300, 4096, 131072}) {
    const auto blocks = take_all(size);
    EXPECT_GT(blocks.size() * size, 4 * kMiB * 3 / 4) << size;
    expect_exact();
    give({blocks[blocks.size() / 2]});
    EXPECT_EQ(take(1, size).size(), 1u) << "one block back is one block to give";
    EXPECT_EQ(heap().allocate(size, kHolder).error(), Error::kArenaFull);
    std::vector<Allocation> rest = blocks;
    const Ref refreshed = arena().ref_at(blocks[blocks.size() / 2].offset).value();
    rest[blocks.size() / 2].ref = refreshed;
    give(rest);
    expect_exact();
  }
}

TEST_F(HeapTest, MemoryOfOneClassServesAnotherWhenTheArenaIsFull) {
  make(4 * kMiB);
  for (const std::uint64_t size : {64, 4096, 100, 40000, 8, 1 << 20})
    give(take_all(size));  // without a trim in between
  EXPECT_GT(heap().counters().released_slabs, 0u);
}

TEST_F(HeapTest, EmptySlabsGoBackToTheArena) {
  make(16 * kMiB);
  const auto blocks = take(20000, 256);
  const std::uint64_t taken = arena().units().taken_units();
  EXPECT_GE(taken, 20000u * 256 / kSlabUnitBytes);
  give(blocks);
  EXPECT_LT(arena().units().taken_units(), taken)
      << "slabs beyond the few that are kept go at once";
  EXPECT_GT(heap().trim(), 0u);
  EXPECT_EQ(arena().units().taken_units(), 0u);
  EXPECT_EQ(heap().trim(), 0u);
  EXPECT_TRUE(heap().usage().empty());
}

TEST_F(HeapTest, GenerationSurvivesASlabsChangeOfClass) {
  make(2 * kMiB);
  const Allocation small = take(1, 64)[0];
  give({small});
  heap().trim();
  ASSERT_EQ(arena().units().taken_units(), 0u);
  const auto large = take_all(512);  // all of the arena: the unit of `small` among them
  const auto same = std::find_if(large.begin(), large.end(), [&](const Allocation& b) {
    return slot_of(b.ref) == slot_of(small.ref);
  });
  ASSERT_NE(same, large.end());
  EXPECT_EQ(generation_of(same->ref), generation_of(small.ref) + 1);
  EXPECT_EQ(heap().free(small.ref), Error::kStaleRef);
}

// How long a ref stays stale, for the largest class: two blocks take turns in its magazine, and one
// block alone without batches.
TEST_F(HeapTest, RefComesBackWhenAllGenerationsOfItsBlockAreUsedUp) {
  make(4 * kMiB);
  const Ref first = take(1, 128 * 1024)[0].ref;
  ASSERT_EQ(heap().free(first), Error::kNone);
  std::uint64_t pairs = 0;
  Ref again;
  do {
    again = heap().allocate(128 * 1024, kHolder)->ref;
    ASSERT_EQ(heap().free(again), Error::kNone);
    ++pairs;
  } while (again != first);
  EXPECT_EQ(pairs, (p0_batch_refill_built() ? 2u : 1u) * arena().refs().generations());
}

TEST_F(HeapTest, BatchIsAllOrNothing) {
  make(2 * kMiB);
  std::vector<Allocation> batch(100);
  EXPECT_EQ(heap().allocate_batch(1000, 0, kHolder, batch), Error::kNone);
  EXPECT_EQ(report().held, 100u);
  std::set<std::uint64_t> offsets;
  for (const Allocation& b : batch) offsets.insert(b.offset);
  EXPECT_EQ(offsets.size(), 100u);
  std::vector<Allocation> too_many(3000);
  EXPECT_EQ(heap().allocate_batch(1000, 0, kHolder, too_many), Error::kArenaFull);
  EXPECT_EQ(report().held, 100u) << "nothing of the refused batch is left";
  std::vector<Allocation> spans(20);
  EXPECT_EQ(heap().allocate_batch(200000, 0, kHolder, spans), Error::kArenaFull);
  EXPECT_EQ(report().held, 100u);
  expect_exact();
  give(batch);
}

TEST_F(HeapTest, UsageAndSlabsAgreeWithTheWords) {
  make(16 * kMiB);
  const auto small = take(100, 64);
  const auto large = take(3, 200000);
  std::uint64_t seen = 0, span_bytes = 0;
  for (const SlabState* s : heap().slabs().all()) {
    for (std::uint32_t b = 0; b < s->carved; ++b) {
      if (!BlockWord(arena().word(Slot::of(s->slab, {b})).load()).is_held()) continue;
      seen += !s->is_span;
      span_bytes += s->is_span ? s->stride_bytes : 0;
    }
  }
  EXPECT_EQ(seen, 100u);
  EXPECT_EQ(span_bytes, 3 * 4 * kSlabUnitBytes);
  for (const ClassUsage& r : heap().usage()) {
    EXPECT_EQ(r.active_blocks + r.free_blocks + r.uncarved_blocks, r.capacity_blocks);
    if (r.cls == kSpanClass) continue;
    EXPECT_EQ(r.active_blocks - r.cached_blocks, 100u);
  }
  give(small);
  give(large);
}

TEST_F(HeapTest, CountersCountWhatHappened) {
  make(16 * kMiB);
  const auto blocks = take(1000, 128);
  const auto spans = take(2, 1 << 20);
  give(blocks);
  give(spans);
  const HeapCounters c = heap().counters();
  EXPECT_EQ(c.allocs, 1002u);
  EXPECT_EQ(c.local_frees, 1002u);
  EXPECT_EQ(c.spans, 2u);
  EXPECT_GT(c.refills, 0u);
  EXPECT_EQ(c.p0_counter_ok, c.refills);
  EXPECT_EQ(c.p0_counter_mismatch, 0u);
  EXPECT_EQ(c.guard_trips, 0u);
  EXPECT_GE(c.carved_blocks, 1000u);
}

}  // namespace
}  // namespace arenad
