// Debug flag Z: writes around a payload are found and reported at the free, whoever frees.
#include <cstring>

#include "allocator/base/format.h"
#include "tests/allocator/log_lines.h"
#include "tests/allocator/peer_fixture.h"

namespace arenad {
namespace {

class RedzonesTest : public ArenaWithPeers {
 protected:
  std::byte* payload(const Allocation& b) { return arena().data() + b.offset; }
  std::uint64_t usable(const Allocation& b) { return arena().describe({b.ref.value}).usable_bytes; }
  std::uint64_t findings() { return control().findings().count.load(); }
  bool damaged_at_free(const Allocation& b, std::size_t by) {
    const std::uint64_t before = findings();
    EXPECT_EQ(heap(by).free_checked({b.ref.value}, {9}, kNoSession).error, Error::kNone)
        << "a damaged block is freed all the same";
    return findings() != before;
  }
  LogLines lines_;
};

constexpr std::uint64_t kSizes[] = {8, 24, 500, 4096, 100000, 300000, 3 << 20};

TEST_F(RedzonesTest, WritingAllOfThePayloadHarmsNothing) {
  for (const Layout layout : {Layout::redzoned(), Layout::headered(), Layout::plain()}) {
    heaps_.clear();
    make(32 * kMiB, 2, layout);
    for (const std::size_t by : {0, 1})
      for (const std::uint64_t size : kSizes) {
        const auto blocks = take(3, size);
        for (const Allocation& b : blocks) std::memset(payload(b), 0xff, usable(b));
        for (const Allocation& b : blocks) EXPECT_FALSE(damaged_at_free(b, by)) << size;
      }
    EXPECT_EQ(findings(), 0u);
    trim_all();
    expect_exact();
  }
}

TEST_F(RedzonesTest, ByteBehindThePayloadIsFoundAtLocalAndRemoteFree) {
  make(32 * kMiB, 2, Layout::redzoned());
  for (const std::size_t by : {0, 1})
    for (const std::uint64_t size : kSizes) {
      const Allocation b = take(1, size)[0];
      payload(b)[usable(b)] ^= std::byte{1};
      EXPECT_TRUE(damaged_at_free(b, by)) << size << " by heap " << by;
    }
  EXPECT_EQ(findings(), 2 * std::size(kSizes));
}

TEST_F(RedzonesTest, ByteInFrontOfThePayloadIsFoundAtLocalAndRemoteFree) {
  make(32 * kMiB, 2, Layout::redzoned());
  for (const std::size_t by : {0, 1})
    for (const std::uint64_t size : kSizes)
      for (const int back : {1, 16}) {
        const Allocation b = take(1, size)[0];
        *(payload(b) - back) ^= std::byte{0x80};
        EXPECT_TRUE(damaged_at_free(b, by)) << size << " by heap " << by;
      }
}

TEST_F(RedzonesTest, ANeighboursRedzoneDoesNotPassForOnesOwn) {
  make(8 * kMiB, 1, Layout::redzoned());
  const auto two = take(2, 64);
  std::memcpy(payload(two[1]) - 16, payload(two[0]) - 16, 16);
  EXPECT_FALSE(damaged_at_free(two[0], 0));
  EXPECT_TRUE(damaged_at_free(two[1], 0));
}

TEST_F(RedzonesTest, DamageIsMendedAndReportedOnce) {
  make(8 * kMiB, 1, Layout::redzoned());
  const Allocation b = take(1, 64)[0];
  payload(b)[usable(b)] ^= std::byte{1};
  EXPECT_TRUE(damaged_at_free(b, 0));
  for (int i = 0; i < 600; ++i) EXPECT_FALSE(damaged_at_free(take(1, 64)[0], 0));
}

TEST_F(RedzonesTest, UncheckedFreeFindsDamageToo) {
  make(8 * kMiB, 2, Layout::redzoned());
  const auto two = take(2, 64);
  for (const Allocation& b : two) payload(b)[usable(b)] ^= std::byte{1};
  EXPECT_EQ(heap(0).free(two[0].ref), Error::kNone);
  EXPECT_EQ(heap(1).free(two[1].ref), Error::kNone);
  EXPECT_EQ(findings(), 2u);
}

TEST_F(RedzonesTest, ReportNamesBlockHolderAndTag) {
  make(8 * kMiB, 2, Layout::redzoned());
  for (const std::size_t by : {0, 1}) {
    const Allocation b = take(1, 112)[0];
    payload(b)[114] = std::byte{0x41};
    EXPECT_TRUE(damaged_at_free(b, by));
    EXPECT_EQ(lines_.take_one(),
              fmt::format("[BLOCK_DEBUG] Z arena=1 ref=0x{:016x} offset={} usable=112: the byte at "
                          "+114 of 112 was overwritten with 0x41; held by session 77, tag 7; freed "
                          "by session 9 now",
                          b.ref.value, b.offset));
  }
}

TEST_F(RedzonesTest, WriteInFrontOfAFreeBlockIsFoundWhenTheBlockGoesOut) {
  make(8 * kMiB, 1, Layout::redzoned());
  const Allocation b = take(1, 64)[0];
  give({b});
  *(payload(b) - 1) ^= std::byte{1};
  give(take(600, 64));
  EXPECT_NE(lines_.take_one().find("the byte at -1 of 64"), std::string::npos);
  EXPECT_EQ(findings(), 1u);
}

// The daemon looks at what a dead session leaves, in its own slabs and in the session's.
TEST_F(RedzonesTest, DamageByASessionThatDiedIsFoundAtItsEnd) {
  make(8 * kMiB, 1, Layout::redzoned());
  const auto worker = peer(5);
  const Allocation leased = worker->take(1, 64)[0];
  const auto given = heap().allocate(300'000, {{5}, 8});
  ASSERT_TRUE(given.ok());
  for (const Allocation& b : {leased, *given}) payload(b)[usable(b)] ^= std::byte{1};
  EXPECT_EQ(end({5}).blocks, 1u);
  EXPECT_EQ(arena().reap({5}).blocks, 1u);
  const auto lines = lines_.take();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_NE(lines[0].find("held by session 5, tag 0; freed by the daemon"), std::string::npos);
  EXPECT_NE(lines[1].find("held by session 5, tag 8; freed by the daemon"), std::string::npos);
}

TEST_F(RedzonesTest, DamageIsFoundInAPeersHeap) {
  make(8 * kMiB, 1, Layout::redzoned());
  const auto worker = peer(5);
  const Allocation b = worker->take(1, 64)[0];
  payload(b)[usable(b)] ^= std::byte{1};
  EXPECT_EQ(worker->heap().free(b.ref), Error::kNone);
  EXPECT_NE(lines_.take_one().find("freed by session 5 now"), std::string::npos);
  EXPECT_EQ(findings(), 1u) << "the daemon sees the peer's count";
}

TEST_F(RedzonesTest, WithoutTheFlagNothingIsFound) {
  debug_ = *parse_debug("FPU");
  make(8 * kMiB, 2);
  const auto blocks = take(2, 64);
  for (const Allocation& b : blocks) payload(b)[64] ^= std::byte{1};
  for (const std::size_t by : {0, 1}) EXPECT_FALSE(damaged_at_free(blocks[by], by));
  EXPECT_EQ(lines_.take_one(), "");
}

TEST_F(RedzonesTest, PlainLayoutLeavesEveryByteOfTheDataFileToItsHolders) {
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
