// An arena of 4 TiB of which little is used: all that is done from time to time, and at the end of
// sessions, costs what is used. Work is counted in page faults (tests/support/page_faults.h).
#include <gtest/gtest.h>

#include "allocator/arena/footprint.h"
#include "allocator/arena/session_set.h"
#include "tests/allocator/arena_fixture.h"
#include "tests/support/large_arena.h"
#include "tests/support/page_faults.h"

namespace arenad {
namespace {

constexpr std::uint64_t kHuge = test::kLargestHere;
constexpr std::uint64_t kFewPages = 200;  // a loop over the capacity faults thousands
constexpr SuperslabIndex kFarSuperslab{kHuge / kSuperslabBytes - 5000};

class HugeArena : public ArenaWithHeaps {
 protected:
  void SetUp() override { make(kHuge, 2); }
  // A pending bit of heap 0 as a freer sets it, or as a peer forges it, in a superslab.
  void raise_pending(SuperslabIndex superslab) {
    const std::uint32_t word = superslab.value / 64;
    control().pending_words({0})[word].fetch_or(std::uint64_t{1} << (superslab.value % 64));
    control().pending_summary({0})[word / 64].fetch_or(std::uint64_t{1} << (word % 64));
  }
  bool summary_stands(SuperslabIndex superslab) {
    const std::uint32_t word = superslab.value / 64;
    return (control().pending_summary({0})[word / 64].load() >> (word % 64) & 1) != 0;
  }
};

TEST_F(HugeArena, UnitMapTakesNoMemoryForWhatIsNotUsed) {
  EXPECT_LT(
      test::page_faults_of([] {
        UnitMap units(
            kHuge, [](SuperslabIndex, std::uint32_t) { return Error::kNone; },
            [](SuperslabIndex) {});
        ASSERT_TRUE(units.commit_ahead(4).ok());
        EXPECT_EQ(units.wholly_free(), 4u);
        EXPECT_EQ(units.take_run(1, {0})->value, 0u);
        EXPECT_EQ(units.take_superslabs(3)->value, kUnitsPerSuperslab);
        units.release_superslabs({kUnitsPerSuperslab}, 3);
        units.decommit_idle(0);
        EXPECT_EQ(units.decommit_idle(0), 3u);
        EXPECT_EQ(units.take_superslabs(1, UnitMap::Memory::kCommitted).error(),
                  Error::kCommitNeeded);
        EXPECT_EQ(
            units.take_run(32, {1'000'000}, UnitMap::Order::kLowest, UnitMap::Memory::kCommitted)
                .error(),
            Error::kCommitNeeded);
      }),
      kFewPages);
}

TEST_F(HugeArena, IdleTickOfAHeapWithOrWithoutSlabsTouchesAFewPages) {
  EXPECT_LT(test::page_faults_of([&] { heap().idle_tick(); }), kFewPages);
  const auto blocks = take(100, 256);
  EXPECT_LT(test::page_faults_of([&] {
              heap().idle_tick();
              heap().drain();
              EXPECT_FALSE(heap().has_pending());
              EXPECT_EQ(heap().usage().size(), 1u);
            }),
            kFewPages);
  give(blocks);
}

TEST_F(HugeArena, RunsAreFoundAndASessionIsReapedInAFewPages) {
  const auto blocks = take(10, 256);
  ASSERT_TRUE(heap(1).allocate(5 << 20, kHolder).ok());
  int runs = 0;
  EXPECT_LT(
      test::page_faults_of([&] { arena().for_each_run([&](SlabIndex, RunRecord) { ++runs; }); }),
      kFewPages);
  EXPECT_EQ(runs, 2);
  const Footprint nowhere(arena().unit_count());
  EXPECT_LT(test::page_faults_of([&] { arena().reap({88}, &nowhere); }), kFewPages);
  EXPECT_EQ(arena().reap(kHolder.session()).blocks, 11u);
  heap(0).drain();
  heap(1).drain();
}

// What a peer forges where the heap has nothing neither hides work nor makes any.
TEST_F(HugeArena, PendingBitsWhereTheHeapHasNoSlabAreNotLookedAt) {
  const auto blocks = take(1, 256);
  raise_pending(kFarSuperslab);
  EXPECT_FALSE(heap().has_pending());
  heap().drain();
  EXPECT_TRUE(summary_stands(kFarSuperslab));
  raise_pending({0});
  EXPECT_TRUE(heap().has_pending());
  heap().drain();
  EXPECT_FALSE(summary_stands({0}));
  give(blocks);
}

// Bits were set before the heap came to the region. A freer that finds them set tells nobody. So
// the heap must look at them from its first slab on.
TEST_F(HugeArena, BitsThatStoodBeforeTheHeapsFirstSlabAnnounceItsBlocks) {
  raise_pending({0});
  EXPECT_FALSE(heap().has_pending()) << "it has no slab yet";
  EXPECT_EQ(heap().drain(), 0u);
  const auto blocks = take(1, 256);
  ASSERT_EQ(superslab_of(slot_of(blocks[0].ref).slab()), SuperslabIndex{0});
  give(blocks, 1);
  heap(1).publish();
  EXPECT_TRUE(heap().has_pending());
  EXPECT_EQ(heap().drain(), 1u);
}

}  // namespace
}  // namespace arenad
