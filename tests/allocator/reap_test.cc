// What a dead session held comes back, whatever it was doing when it died.
#include "tests/allocator/arena_fixture.h"
#include "tests/support/workers.h"

namespace arenad {
namespace {

constexpr Holder kDeadHolder{{500}, 1};
constexpr Holder kAlive{{501}, 1};

class ReapTest : public ArenaWithHeaps {
 protected:
  std::vector<Allocation> take_for(Holder holder, std::size_t count, std::uint64_t size,
                                   std::size_t i = 0) {
    std::vector<Allocation> blocks;
    for (std::size_t n = 0; n < count; ++n) {
      const auto b = heap(i).allocate(size, holder);
      EXPECT_TRUE(b.ok()) << error_name(b.error());
      if (b) blocks.push_back(*b);
    }
    return blocks;
  }
};

TEST_F(ReapTest, GivesBackAllOfTheDeadAndNothingOfTheLiving) {
  make(128 * kMiB, 2);
  std::uint64_t bytes = 0, count = 0;
  std::vector<Allocation> living;
  for (const std::size_t i : {0, 1})
    for (const std::uint64_t size : {8, 100, 3000, 100000, 500000, 5 << 20}) {
      for (const Allocation& b : take_for(kDeadHolder, 3, size, i)) {
        bytes += arena().describe({b.ref.value}).stride_bytes;
        ++count;
      }
      for (const Allocation& b : take_for(kAlive, 2, size, i)) living.push_back(b);
    }
  const ReapResult r = arena().reap(kDeadHolder.session());
  EXPECT_EQ(r.blocks, count);
  EXPECT_EQ(r.bytes, bytes);
  expect_exact();
  EXPECT_EQ(heap(0).drain() + heap(1).drain(), count);
  for (const Allocation& b : living)
    EXPECT_EQ(arena().describe({b.ref.value}).holder.session(), kAlive.session());
  EXPECT_EQ(report().held, living.size());
  give(living);
  trim_all();
  trim_all();
  EXPECT_EQ(arena().units().taken_units(), 0u);
}

TEST_F(ReapTest, RefsOfTheDeadAreDeadToo) {
  make(8 * kMiB, 2);
  const auto blocks = take_for(kDeadHolder, 2, 100);
  arena().reap(kDeadHolder.session());
  EXPECT_EQ(heap(0).free(blocks[0].ref), Error::kDoubleFree);
  EXPECT_EQ(heap(1).free(blocks[0].ref), Error::kDoubleFree);
  EXPECT_FALSE(arena().acquire({blocks[1].ref.value}, kAlive).ok());
  EXPECT_EQ(heap(0).drain(), 2u);
}

TEST_F(ReapTest, BlockTakenOverBeforeTheDeathStays) {
  make(8 * kMiB);
  const auto blocks = take_for(kDeadHolder, 2, 100);
  ASSERT_TRUE(arena().acquire({blocks[0].ref.value}, kAlive).ok());
  EXPECT_EQ(arena().reap(kDeadHolder.session()).blocks, 1u);
  EXPECT_EQ(heap().drain(), 1u);
  EXPECT_EQ(arena().describe({blocks[0].ref.value}).state, BlockFacts::State::kHeld);
}

TEST_F(ReapTest, FreesThatDiedInTheFreersGatherAreAnnounced) {
  make(8 * kMiB, 2);
  const auto blocks =
      take_for(kAlive, 60, 200);  // fewer than complete a word, which goes out at once
  give(blocks, 1);                // RETURNING(session 2), gathered
  ASSERT_TRUE(heap(1).has_unpublished());
  const HeapCounters died = heap(1).counters();
  EXPECT_EQ(died.remote_frees, 60u);
  heaps_.pop_back();  // dies before it publishes
  EXPECT_EQ(heap(0).drain(), 0u);
  const ReapResult r = arena().reap({2});
  EXPECT_EQ(r.blocks, 0u);
  EXPECT_EQ(r.announced, 60u);
  EXPECT_EQ(heap(0).drain(), 60u);
}

TEST_F(ReapTest, BitsWhoseAnnouncementDiedAreAnnouncedAgain) {
  make(8 * kMiB, 2);
  const auto blocks = take_for(kAlive, 64, 200);
  give(blocks, 1);
  heap(1).publish();
  // Died between the returned bit and the pending bits; others that found the word non-zero relied
  // on it.
  control().superslab({0}).pending.store(0);
  for (std::uint32_t i = 0; i < control().pending_word_count(); ++i)
    control().pending_words({0})[i].store(0);
  for (std::uint32_t i = 0; i < control().pending_summary_count(); ++i)
    control().pending_summary({0})[i].store(0);
  ASSERT_EQ(heap(0).drain(), 0u);
  arena().reap({499});  // whoever it was: all words that are not 0 are announced
  EXPECT_EQ(heap(0).drain(), 64u);
}

TEST_F(ReapTest, DeathBetweenAnyTwoBitsOfAnAnnouncementLosesNothing) {
  for (const int stage : {0, 1, 2}) {
    heaps_.clear();
    make(8 * kMiB, 2);
    const auto blocks = take_for(kAlive, 64, 200);
    give(blocks, 1);
    heap(1).publish();
    // What was set last is missing: heap summary, then heap word, then superslab.
    for (std::uint32_t i = 0; i < control().pending_summary_count(); ++i)
      control().pending_summary({0})[i].store(0);
    if (stage >= 1)
      for (std::uint32_t i = 0; i < control().pending_word_count(); ++i)
        control().pending_words({0})[i].store(0);
    if (stage >= 2) control().superslab({0}).pending.store(0);
    arena().reap({2});
    EXPECT_EQ(heap(0).drain(), 64u) << "stage " << stage;
    expect_exact();
  }
}

TEST_F(ReapTest, RunTwiceOrHalfIsTheSameAsOnce) {
  make(8 * kMiB);
  take_for(kDeadHolder, 50, 300);
  EXPECT_EQ(arena().reap(kDeadHolder.session()).blocks, 50u);
  const ReapResult again = arena().reap(kDeadHolder.session());
  EXPECT_EQ(again.blocks, 0u);
  EXPECT_EQ(again.announced, 50u) << "a reaper that died halfway is simply run again";
  EXPECT_EQ(heap().drain(), 50u);
  EXPECT_EQ(arena().reap(kDeadHolder.session()).announced, 0u);
  EXPECT_EQ(heap().drain(), 0u);
}

// The daemon that starts may find as many holders as words can name.
TEST_F(ReapTest, AllButTheLivingAreReapedInOnePass) {
  make(8 * kMiB, 2);
  constexpr std::uint16_t kDeadSessions = 300;
  for (std::uint16_t i = 0; i < kDeadSessions; ++i)
    take_for(Holder(SessionId{static_cast<std::uint16_t>(600 + i)}, 0), 1, 100, i % 2);
  const auto living = take_for(kAlive, 5, 100);
  // Two dead sessions and a living one share a block, and two dead sessions share another.
  const auto shared = take_for(kDeadHolder, 2, 100);
  const SessionId other_dead{502};
  for (const Allocation& b : shared) {
    ASSERT_EQ(arena().share({b.ref.value}, kDeadHolder.session()), Error::kNone);
    ASSERT_EQ(arena().share({b.ref.value}, other_dead), Error::kNone);
  }
  ASSERT_EQ(arena().share({shared[0].ref.value}, kAlive.session()), Error::kNone);
  std::uint64_t runs = 0;
  arena().for_each_run([&runs](SlabIndex, RunRecord) { ++runs; });

  SessionSet alive;
  alive.insert(kAlive.session());
  auto given = arena().reap_all_but(alive);
  EXPECT_EQ(given[kNoSession].runs, runs) << "each run is read once";
  EXPECT_EQ(given[kNoSession].announced, kDeadSessions + 1u);
  for (std::uint16_t i = 0; i < kDeadSessions; ++i)
    EXPECT_EQ(given[SessionId{static_cast<std::uint16_t>(600 + i)}].blocks, 1u) << i;
  EXPECT_EQ(given[kDeadHolder.session()].blocks + given[other_dead].blocks, 1u);
  EXPECT_EQ(given.count(kAlive.session()), 0u);
  EXPECT_EQ(BlockWord(word(shared[0].ref).load()).sharers(), arena().sharer_bits(kAlive.session()));
  for (const Allocation& b : living)
    EXPECT_EQ(arena().describe({b.ref.value}).holder.session(), kAlive.session());
  expect_exact();

  // A reaper that died is run again.
  auto again = arena().reap_all_but(alive);
  EXPECT_EQ(again[kNoSession].announced, kDeadSessions + 1u);
  EXPECT_EQ(heap(0).drain() + heap(1).drain(), kDeadSessions + 1u);
  EXPECT_EQ(arena().reap_all_but(alive)[kNoSession].announced, 0u);
}

TEST_F(ReapTest, SessionTableSaysWhenTheReapIsOver) {
  make(8 * kMiB);
  arena().mark_session(kDeadHolder.session(), SessionEntry::kLive);
  EXPECT_EQ(control().session(kDeadHolder.session()).state.load(), SessionEntry::kLive);
  arena().reap(kDeadHolder.session());
  EXPECT_EQ(control().session(kDeadHolder.session()).state.load(), SessionEntry::kReaping)
      << "its own slabs are still to be adopted";
  arena().forget_session(kDeadHolder.session());
  EXPECT_EQ(control().session(kDeadHolder.session()).state.load(), SessionEntry::kNone);
}

TEST_F(ReapTest, OwnerThatFreesAndAllocatesMeanwhileLosesNothing) {
  make(16 * kMiB, 2);
  test::Workers reaper;
  reaper.start([&] {
    while (reaper.go_on()) {
      arena().reap(kDeadHolder.session());
      std::this_thread::yield();
    }
  });
  std::uint64_t reaped_first = 0;
  for (int round = 0; round < 300; ++round) {
    const auto dead = take_for(kDeadHolder, 40, 256), living = take_for(kAlive, 40, 256);
    // The reaper may be first with what is the dead one's, never with the living one's.
    for (const Allocation& b : dead)
      reaped_first += heap(static_cast<std::size_t>(round % 2)).free(b.ref) != Error::kNone;
    for (const Allocation& b : living) ASSERT_EQ(heap(0).free(b.ref), Error::kNone);
    heap(0).drain();
  }
  reaper.stop();
  reaper.join();
  trim_all();
  trim_all();
  EXPECT_EQ(arena().units().taken_units(), 0u)
      << reaped_first << " blocks were reaped before they were freed";
}

}  // namespace
}  // namespace arenad
