// Guarded payloads: damage is found at the free, whoever frees; a clean block never is.
#include <cstring>

#include "tests/allocator/arena_fixture.h"

namespace arenad {
namespace {

class CanaryTest : public ArenaWithHeaps {
 protected:
  std::byte* payload(const Allocation& b) { return arena().data() + b.offset; }
  std::uint64_t usable(const Allocation& b) { return arena().describe({b.ref.value}).usable_bytes; }
  bool damaged_at_free(const Allocation& b, std::size_t by) {
    const FreeOutcome out = heap(by).free_checked({b.ref.value}, {9}, kNoSession);
    EXPECT_EQ(out.error, Error::kNone) << "a damaged block is freed all the same";
    return out.canary_damaged;
  }
};

constexpr std::uint64_t kSizes[] = {8, 24, 500, 4096, 100000, 300000, 3 << 20};

TEST_F(CanaryTest, WritingAllOfThePayloadHarmsNothing) {
  for (const Layout layout : {Layout::canaried(), Layout::headered(), Layout::plain()}) {
    heaps_.clear();
    make(32 * kMiB, 2, layout);
    for (const std::size_t by : {0, 1})
      for (const std::uint64_t size : kSizes) {
        const auto blocks = take(3, size);
        for (const Allocation& b : blocks) std::memset(payload(b), 0xff, usable(b));
        for (const Allocation& b : blocks) EXPECT_FALSE(damaged_at_free(b, by)) << size;
      }
    EXPECT_EQ(heap(0).counters().canary_damaged + heap(1).counters().canary_damaged, 0u);
    trim_all();
    expect_exact();
  }
}

TEST_F(CanaryTest, ByteBehindThePayloadIsFoundAtLocalAndRemoteFree) {
  make(32 * kMiB, 2, Layout::canaried());
  for (const std::size_t by : {0, 1})
    for (const std::uint64_t size : kSizes) {
      const Allocation b = take(1, size)[0];
      payload(b)[usable(b)] ^= std::byte{1};
      EXPECT_TRUE(damaged_at_free(b, by)) << size << " by heap " << by;
    }
  EXPECT_EQ(heap(0).counters().canary_damaged, std::size(kSizes));
  EXPECT_EQ(heap(1).counters().canary_damaged, std::size(kSizes));
}

TEST_F(CanaryTest, ByteInFrontOfThePayloadIsFoundAtLocalAndRemoteFree) {
  make(32 * kMiB, 2, Layout::canaried());
  for (const std::size_t by : {0, 1})
    for (const std::uint64_t size : kSizes)
      for (const int back : {1, 16}) {
        const Allocation b = take(1, size)[0];
        *(payload(b) - back) ^= std::byte{0x80};
        EXPECT_TRUE(damaged_at_free(b, by)) << size << " by heap " << by;
      }
}

TEST_F(CanaryTest, ANeighboursCanaryDoesNotPassForOnesOwn) {
  make(8 * kMiB, 1, Layout::canaried());
  const auto two = take(2, 64);
  std::memcpy(payload(two[1]) - 16, payload(two[0]) - 16, 16);
  EXPECT_FALSE(damaged_at_free(two[0], 0));
  EXPECT_TRUE(damaged_at_free(two[1], 0));
}

TEST_F(CanaryTest, DamageIsForgottenWhenTheBlockIsGivenOutAgain) {
  make(8 * kMiB, 1, Layout::canaried());
  const Allocation b = take(1, 64)[0];
  payload(b)[usable(b)] ^= std::byte{1};
  EXPECT_TRUE(damaged_at_free(b, 0));
  for (int i = 0; i < 600; ++i) EXPECT_FALSE(damaged_at_free(take(1, 64)[0], 0));
}

TEST_F(CanaryTest, UncheckedFreeCountsDamageToo) {
  make(8 * kMiB, 2, Layout::canaried());
  const auto two = take(2, 64);
  for (const Allocation& b : two) payload(b)[usable(b)] ^= std::byte{1};
  EXPECT_EQ(heap(0).free(two[0].ref), Error::kNone);
  EXPECT_EQ(heap(1).free(two[1].ref), Error::kNone);
  EXPECT_EQ(heap(0).counters().canary_damaged, 1u);
  EXPECT_EQ(heap(1).counters().canary_damaged, 1u);
}

TEST_F(CanaryTest, PlainLayoutLeavesEveryByteOfTheDataFileToItsHolders) {
  make(4 * kMiB);
  const auto blocks = take_all(4096);
  for (const Allocation& b : blocks) std::memset(payload(b), 0xa5, 4096);
  give(blocks);
  heap().trim();
  for (const Allocation& b : blocks)
    for (std::uint64_t i = 0; i < 4096; i += 8)
      ASSERT_EQ(payload(b)[i], std::byte{0xa5}) << "the allocator wrote into a freed block";
}

}  // namespace
}  // namespace arenad
