// Who gets which 64 KiB units, and when memory comes from and goes back to the system.
#include "allocator/arena/unit_map.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <thread>
#include <vector>

#include "tests/allocator/arena_fixture.h"
#include "tests/support/workers.h"

namespace arenad {
namespace {

// A map over `superslabs` whose memory is a counter; commits fail while `full`.
struct Map {
  explicit Map(std::uint32_t superslabs)
      : units(
            superslabs * kSuperslabBytes,
            [this](SuperslabIndex first, std::uint32_t count) {
              if (full) return Error::kMachineFull;
              for (std::uint32_t i = 0; i < count; ++i)
                EXPECT_EQ(backed[first.value + i].exchange(1), 0) << "committed twice";
              commits += count;
              return Error::kNone;
            },
            [this](SuperslabIndex i) {
              EXPECT_EQ(backed[i.value].exchange(0), 1) << "given back twice";
              ++given_back;
            }) {}
  std::vector<std::atomic<int>> backed = std::vector<std::atomic<int>>(64);
  std::atomic<bool> full{false};
  std::atomic<std::uint32_t> commits{0}, given_back{0};
  UnitMap units;
};

TEST(UnitMap, RunsLieInOneSuperslabAndNeverOverlap) {
  Map m(4);
  std::vector<int> taken(m.units.unit_count());
  std::uint32_t sum = 0;
  for (std::uint32_t units = 1;; units = units % 16 + 1) {
    const auto run = m.units.take_run(units, {0});
    if (!run) {
      EXPECT_EQ(run.error(), Error::kArenaFull);
      break;
    }
    EXPECT_EQ(run->value / kUnitsPerSuperslab, (run->value + units - 1) / kUnitsPerSuperslab);
    for (std::uint32_t u = 0; u < units; ++u) EXPECT_EQ(taken[run->value + u]++, 0);
    sum += units;
    EXPECT_EQ(m.units.taken_units(), sum);
  }
  EXPECT_GT(sum, m.units.unit_count() / 2);
  while (m.units.take_run(1, {3}).ok()) ++sum;
  EXPECT_EQ(sum, m.units.unit_count()) << "single units fill every gap";
}

TEST(UnitMap, ReleasedRunIsTakenAgainAndGapsAreFoundByLength) {
  Map m(1);
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(m.units.take_run(4, {0}).ok());
  m.units.release_run({4}, 4);
  m.units.release_run({12}, 4);
  EXPECT_EQ(m.units.take_run(5, {0}).error(), Error::kArenaFull)
      << "eight are free, but not in a row";
  m.units.release_run({8}, 4);
  EXPECT_EQ(m.units.take_run(12, {0})->value, 4u);
}

TEST(UnitMap, RotatingRunsTakeTurnsWithoutMoreMemory) {
  Map m(4);
  const SlabIndex below = *m.units.take_run(5, {0});
  std::vector<std::uint32_t> taken;
  for (int i = 0; i < 13; ++i) {
    const SlabIndex run = *m.units.take_run(4, {0}, UnitMap::Order::kRotating);
    taken.push_back(run.value);
    m.units.release_run(run, 4);
  }
  EXPECT_EQ(below.value, 0u);
  EXPECT_EQ(taken, (std::vector<std::uint32_t>{5, 9, 13, 17, 21, 25, 5, 9, 13, 17, 21, 25, 5}));
  EXPECT_EQ(m.commits, 1u);
  ASSERT_EQ(m.units.take_run(27, {0}, UnitMap::Order::kRotating)->value, 5u)
      << "the only run of that length begins below the wish";
}

TEST(UnitMap, HintIsWhereASearchStarts) {
  Map m(8);
  ASSERT_TRUE(m.units.commit_ahead(8).ok());
  EXPECT_EQ(m.units.take_run(1, {5})->value / kUnitsPerSuperslab, 5u);
  EXPECT_EQ(m.units.take_run(1, {7})->value / kUnitsPerSuperslab, 7u);
  for (int i = 0; i < 31; ++i) EXPECT_EQ(m.units.take_run(1, {7})->value / kUnitsPerSuperslab, 7u);
  EXPECT_EQ(m.units.take_run(1, {7})->value / kUnitsPerSuperslab, 0u) << "and it goes round";
}

TEST(UnitMap, SuperslabSpansTakeFreshAndCommittedOnesAlike) {
  Map m(8);
  m.units.release_run(*m.units.take_run(1, {0}), 1);  // superslab 0 is committed and free
  const auto span = m.units.take_superslabs(3);
  ASSERT_TRUE(span.ok());
  EXPECT_EQ(span->value, 0u);
  EXPECT_EQ(m.commits, 3u);
  EXPECT_EQ(m.units.take_superslabs(6).error(), Error::kArenaFull);
  EXPECT_EQ(m.units.take_superslabs(0).error(), Error::kArenaFull);
  EXPECT_EQ(m.units.take_superslabs(9).error(), Error::kArenaFull);
  EXPECT_EQ(m.units.take_superslabs(5)->value, 3 * kUnitsPerSuperslab);
  EXPECT_EQ(m.units.taken_units(), 8 * kUnitsPerSuperslab);
  m.units.release_superslabs({0}, 3);
  EXPECT_EQ(m.units.take_superslabs(2)->value, 0u);
  EXPECT_EQ(m.commits, 8u) << "nothing was committed twice";
}

TEST(UnitMap, RefusedSpanPutsBackWhatItHadClaimed) {
  Map m(8);
  ASSERT_TRUE(m.units.commit_ahead(2).ok());
  ASSERT_EQ(m.units.take_run(1, {1})->value, kUnitsPerSuperslab);  // superslab 1 is in the way
  ASSERT_TRUE(m.units.take_superslabs(6).ok());
  EXPECT_EQ(m.units.take_superslabs(2).error(), Error::kArenaFull);
  EXPECT_EQ(m.units.wholly_free(), 1u);
  EXPECT_TRUE(m.units.take_superslabs(1).ok());
}

TEST(UnitMap, FullMachineIsAnErrorAndLeavesNothingTaken) {
  Map m(4);
  m.full = true;
  EXPECT_EQ(m.units.take_run(1, {0}).error(), Error::kMachineFull);
  EXPECT_EQ(m.units.take_superslabs(2).error(), Error::kMachineFull);
  EXPECT_EQ(m.units.commit_ahead(1).error(), Error::kMachineFull);
  EXPECT_EQ(m.units.taken_units(), 0u);
  EXPECT_EQ(m.units.committed_bytes(), 0u);
  m.full = false;
  EXPECT_TRUE(m.units.take_superslabs(4).ok())
      << "and all is there when the machine has memory again";
}

TEST(UnitMap, CommitAheadKeepsSoManyWhollyFree) {
  Map m(8);
  EXPECT_EQ(m.units.commit_ahead(3).value(), 3u);
  EXPECT_EQ(m.units.commit_ahead(3).value(), 0u);
  EXPECT_EQ(m.units.committed_bytes(), 3 * kSuperslabBytes);
  ASSERT_TRUE(m.units.take_run(1, {0}).ok());
  EXPECT_EQ(m.commits, 3u) << "a claim takes what stands ready";
  EXPECT_EQ(m.units.commit_ahead(3).value(), 1u);
  EXPECT_EQ(m.units.commit_ahead(100).value(), 4u) << "as far as there are any";
}

TEST(UnitMap, DecommitWaitsForASecondIdleLookAndKeepsSome) {
  Map m(8);
  ASSERT_TRUE(m.units.commit_ahead(6).ok());
  EXPECT_EQ(m.units.decommit_idle(2), 0u) << "seen idle once";
  EXPECT_EQ(m.units.decommit_idle(2), 4u);
  EXPECT_EQ(m.given_back, 4u);
  EXPECT_EQ(m.units.committed_bytes(), 2 * kSuperslabBytes);
  EXPECT_EQ(m.units.decommit_idle(2) + m.units.decommit_idle(2), 0u);
  EXPECT_TRUE(m.units.take_superslabs(8).ok()) << "what went back can be taken again";
}

TEST(UnitMap, UseBetweenTwoLooksStartsTheWaitAgain) {
  Map m(2);
  ASSERT_TRUE(m.units.commit_ahead(1).ok());
  EXPECT_EQ(m.units.decommit_idle(0), 0u);
  m.units.release_run(*m.units.take_run(1, {0}), 1);
  EXPECT_EQ(m.units.decommit_idle(0), 0u);
  EXPECT_EQ(m.units.decommit_idle(0), 1u);
}

TEST(UnitMap, ThreadsNeverShareAUnitWhateverComesAndGoes) {
  constexpr std::uint32_t kSuperslabs = 3;
  Map m(kSuperslabs);
  std::vector<std::atomic<int>> owner(kSuperslabs * kUnitsPerSuperslab);
  std::atomic<int> shared{0};
  const auto claim = [&](std::uint32_t first, std::uint32_t units) {
    for (std::uint32_t u = first; u < first + units; ++u) {
      if (owner[u].exchange(1, std::memory_order_relaxed) != 0) ++shared;
      if (m.backed[u / kUnitsPerSuperslab].load(std::memory_order_relaxed) == 0)
        ++shared;  // a unit without memory
    }
  };
  test::Workers workers, keeper;
  test::MeetingPoint start(workers, 3);
  const auto worker = [&](std::uint32_t seed) {
    if (!start.arrive_and_wait()) return;  // else the first is done before the last begins
    std::uint32_t random = seed;
    for (int i = 0; i < 150000; ++i) {
      random = random * 1664525 + 1013904223;
      if ((random >> 16) % 50 == 0) {
        const std::uint32_t count = 1 + (random >> 24) % 2;
        const auto run = m.units.take_superslabs(count);
        if (!run) continue;
        claim(run->value, count * kUnitsPerSuperslab);
        for (std::uint32_t u = 0; u < count * kUnitsPerSuperslab; ++u)
          owner[run->value + u].store(0, std::memory_order_relaxed);
        m.units.release_superslabs(*run, count);
      } else {
        const std::uint32_t units = 1 + (random >> 16) % 8;
        const auto run = m.units.take_run(units, {(random >> 24) % kSuperslabs});
        if (!run) continue;
        claim(run->value, units);
        for (std::uint32_t u = 0; u < units; ++u)
          owner[run->value + u].store(0, std::memory_order_relaxed);
        m.units.release_run(*run, units);
      }
    }
  };
  keeper.start([&] {
    while (keeper.go_on()) {
      ASSERT_TRUE(m.units.commit_ahead(2).ok());
      m.units.decommit_idle(1);
      std::this_thread::yield();
    }
  });
  for (std::uint32_t t = 0; t < 3; ++t) workers.start([&worker, t] { worker(t + 1); });
  workers.join();
  keeper.stop();
  keeper.join();
  EXPECT_EQ(shared, 0);
  EXPECT_EQ(m.units.taken_units(), 0u);
  EXPECT_TRUE(m.units.take_superslabs(kSuperslabs).ok()) << "all of it is there in the end";
  EXPECT_EQ(m.commits - m.given_back, kSuperslabs);
}

using ArenaMemory = ArenaWithHeaps;

TEST_F(ArenaMemory, DecommitReallyGivesMemoryBackToTheSystem) {
  make(32 * kMiB);
  const auto system_bytes = [&] {
    struct stat s {};
    EXPECT_EQ(::fstat(arena().data_fd(), &s), 0);
    return static_cast<std::uint64_t>(s.st_blocks) * 512;
  };
  EXPECT_EQ(system_bytes(), 0u);
  EXPECT_EQ(arena().commit_ahead(4).value(), 4u);
  EXPECT_EQ(system_bytes(), 4 * kSuperslabBytes);
  give(take(10000, 2048));
  EXPECT_EQ(system_bytes(), arena().committed_bytes());
  EXPECT_GE(system_bytes(), 10000u * 2048);
  heap().trim();
  EXPECT_EQ(arena().decommit_idle(1), 0u);
  EXPECT_GT(arena().decommit_idle(1), 5u);
  EXPECT_EQ(system_bytes(), kSuperslabBytes);
  EXPECT_EQ(arena().committed_bytes(), kSuperslabBytes);
  give(take(10000, 2048));
}

TEST_F(ArenaMemory, RefIntoMemoryThatWentBackIsStale) {
  make(8 * kMiB);
  const Allocation b = take(1, 2048)[0];
  give({b});
  heap().trim();
  arena().decommit_idle(0);
  ASSERT_EQ(arena().decommit_idle(0), 1u);
  EXPECT_EQ(heap().free_checked({b.ref.value}, {1}, kNoSession).error, Error::kStaleRef);
  EXPECT_EQ(arena().acquire({b.ref.value}, kHolder).error(), Error::kStaleRef);
  EXPECT_EQ(arena().describe({b.ref.value}).state, BlockFacts::State::kStale);
  EXPECT_EQ(arena().ref_at(b.offset).error(), Error::kForeignRef);
}

}  // namespace
}  // namespace arenad
