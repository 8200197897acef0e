// SparseBits: a set with a large bound that costs what is used of it.
#include "allocator/base/sparse_bits.h"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "tests/support/page_faults.h"
#include "tests/support/workers.h"

namespace arenad {
namespace {

constexpr std::uint32_t kMost = std::uint32_t{1} << 21;  // superslabs of the largest arena

std::vector<std::uint32_t> members(const SparseBits& bits) {
  std::vector<std::uint32_t> found;
  for (std::uint32_t i = bits.next(0); i < bits.bound(); i = bits.next(i + 1)) found.push_back(i);
  return found;
}

TEST(SparseBits, SetAndClearSayWhetherTheyChangedTheBit) {
  SparseBits bits(100);
  EXPECT_FALSE(bits.test(70));
  EXPECT_TRUE(bits.set(70));
  EXPECT_FALSE(bits.set(70));
  EXPECT_TRUE(bits.test(70));
  EXPECT_TRUE(bits.clear(70));
  EXPECT_FALSE(bits.clear(70));
  EXPECT_EQ(bits.next(0), 100u);
}

TEST(SparseBits, NextFindsEveryMemberInOrderWhateverTheBound) {
  for (const std::uint32_t bound :
       {1u, 2u, 63u, 64u, 65u, 4095u, 4096u, 4097u, 262143u, 262144u, 262145u, kMost - 1, kMost}) {
    SparseBits bits(bound);
    std::mt19937 random(bound);
    std::set<std::uint32_t> want{0, bound - 1, bound / 2};
    for (int i = 0; i < 50; ++i) want.insert(static_cast<std::uint32_t>(random()) % bound);
    for (const std::uint32_t i : want) bits.set(i);
    EXPECT_EQ(members(bits), std::vector(want.begin(), want.end())) << bound;
    for (const std::uint32_t i : want)
      if (i % 3 != 0) bits.clear(i);
    std::erase_if(want, [](std::uint32_t i) { return i % 3 != 0; });
    EXPECT_EQ(members(bits), std::vector(want.begin(), want.end())) << bound;
    EXPECT_EQ(bits.next(bound), bound);
    EXPECT_EQ(bits.next(bound + 1000), bound) << "a search may begin beyond the end";
  }
}

TEST(SparseBits, NextClearFindsTheFirstGap) {
  SparseBits bits(200);
  EXPECT_EQ(bits.next_clear(0), 0u);
  for (std::uint32_t i = 0; i < 130; ++i) bits.set(i);
  EXPECT_EQ(bits.next_clear(0), 130u);
  bits.clear(77);
  EXPECT_EQ(bits.next_clear(0), 77u);
  EXPECT_EQ(bits.next_clear(78), 130u);
  for (std::uint32_t i = 0; i < 200; ++i) bits.set(i);
  EXPECT_EQ(bits.next_clear(0), 200u) << "bits beyond the bound are no numbers";
  EXPECT_EQ(bits.next_clear(200), 200u);
}

TEST(SparseBits, LookingThroughALargeEmptySetTouchesAFewPages) {
  constexpr std::uint32_t kVast = 1 << 27;  // 16 MiB of members, 4096 pages
  SparseBits bits(kVast);
  // Far from both: sanitizers and code that is new to the process take pages, too.
  EXPECT_LE(test::page_faults_of([&] {
              bits.set(5);
              bits.set(kVast - 5);
              EXPECT_EQ(members(bits).size(), 2u);
              bits.clear(5);
              EXPECT_EQ(members(bits), std::vector{kVast - 5});
            }),
            400u);
}

// Neighbours come and go all the time, and leave words empty for a moment. A search never misses
// what was set before it began.
TEST(SparseBits, SearchFindsWhatWasSetBeforeWhateverOthersClear) {
  SparseBits bits(kMost);
  constexpr std::uint32_t kMine = 64 * 64 * 7 + 64 * 5 + 9;
  test::Workers workers;
  std::atomic<bool> done{false};
  for (const std::uint32_t neighbour : {kMine + 1, kMine + 64, kMine - 64 * 64}) {
    workers.start([&bits, &done, neighbour] {
      while (!done.load(std::memory_order_relaxed)) {
        bits.set(neighbour);
        bits.clear(neighbour);
      }
    });
  }
  int missed = 0;
  for (int i = 0; i < 300'000; ++i) {
    bits.set(kMine);
    std::uint32_t found = bits.next(0);
    while (found < kMine) found = bits.next(found + 1);
    missed += found != kMine;
    bits.clear(kMine);
  }
  done = true;
  workers.join();
  EXPECT_EQ(missed, 0);
}

}  // namespace
}  // namespace arenad
