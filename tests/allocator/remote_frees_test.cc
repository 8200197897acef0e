// RemoteFrees and RemoteGather: each block is published once, and complete words at once.
#include "allocator/heap/remote_frees.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/allocator/arena_fixture.h"
#include "tests/support/refs.h"

namespace arenad {
namespace {

TEST(RemoteGather, KeepsBlocksUntilTheirWordIsComplete) {
  RemoteGather gather;
  for (std::uint64_t i = 0; i < 63; ++i) EXPECT_EQ(gather.add({64 * 7 + i}).bits, 0u);
  EXPECT_FALSE(gather.empty());
  const RemoteGather::Entry whole = gather.add({64 * 7 + 63});
  EXPECT_EQ(whole.key, 7u);
  EXPECT_EQ(whole.bits, ~std::uint64_t{0});
  EXPECT_TRUE(gather.empty());
}

TEST(RemoteGather, GivesEachBlockOutOnce) {
  RemoteGather gather;
  std::map<std::uint64_t, std::uint64_t> bits;
  const auto note = [&bits](const RemoteGather::Entry& e) {
    EXPECT_EQ(bits[e.key] & e.bits, 0u);
    bits[e.key] |= e.bits;
  };
  for (std::uint64_t slot = 3; slot < 1'000'000; slot += 997) note(gather.add({slot}));
  EXPECT_TRUE(gather.overdue() || !gather.empty());
  gather.take_all(note);
  EXPECT_TRUE(gather.empty());
  EXPECT_FALSE(gather.overdue());
  for (std::uint64_t slot = 3; slot < 1'000'000; slot += 997)
    EXPECT_NE(bits[slot / 64] >> (slot % 64) & 1, 0u) << slot;
}

class RemoteFreesTest : public ArenaWithHeaps {};

TEST_F(RemoteFreesTest, PublishSetsTheReturnedBitAndCountsForTheOwner) {
  make(4 * kMiB);
  const Allocation b = take(1, 64)[0];
  word(b.ref) = BlockWord::returning(word(b.ref).load(), {9}, kSmallRefs.step());
  RemoteFrees frees(arena());
  frees.add(slot_of(b.ref));
  EXPECT_FALSE(frees.empty());
  EXPECT_FALSE(heap().has_pending());
  frees.publish();
  EXPECT_TRUE(frees.empty());
  EXPECT_EQ(frees.by_owner()[0], 1u);
  EXPECT_TRUE(heap().has_pending());
  EXPECT_EQ(heap().drain(), 1u);
}

TEST_F(RemoteFreesTest, OwnerThatIsNoHeapCountsForNobody) {
  broken_on_purpose_ = true;
  make(4 * kMiB);
  const Allocation b = take(1, 64)[0];
  control().slab(slot_of(b.ref).slab()).owner = 60000;
  RemoteFrees frees(arena());
  frees.add(slot_of(b.ref));
  frees.publish();
  for (const std::uint64_t n : frees.by_owner()) EXPECT_EQ(n, 0u);
}

}  // namespace
}  // namespace arenad
