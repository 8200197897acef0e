// What an allocation checks, charges and answers.
#include "server/core/shard/allocate_call.h"

#include "tests/core/shard_parts.h"
#include "tests/support/refs.h"

namespace arenad::server {
namespace {

class AllocateCalls : public ShardParts {
 protected:
  AllocateCalls() : ShardParts(AttachMode::kRemote, 100'000) {}
  AllocateArgs args(std::uint64_t size_bytes, std::uint32_t count = 1) {
    AllocateArgs a;
    a.session = alice;
    a.arena_id = arena;
    a.size_bytes = size_bytes;
    a.count = count;
    return a;
  }
  Error attempt(const AllocateArgs& a) {
    out = {};
    return kind.attempt(zero.access(alice), a, out);
  }
  Error wrong(const AllocateArgs& a) { return kind.check(a, zero.slot()).error; }

  AllocateCall kind{zero.tables, zero.account, zero.turn};
  AllocatedBlocks out;
};

TEST_F(AllocateCalls, RequestsThatNoMemoryCouldServeAreFoundBeforehand) {
  EXPECT_EQ(wrong(args(64)), Error::kNone);
  EXPECT_EQ(wrong(args(64, 0)), Error::kInvalidCount);
  EXPECT_EQ(wrong(args(64, kMaxBlocksPerCall + 1)), Error::kInvalidCount);
  EXPECT_EQ(wrong(args(0)), Error::kInvalidSize);
  EXPECT_EQ(wrong(args(kPartsCapacity + 1)), Error::kInvalidSize);
  EXPECT_EQ(wrong(args(kPartsCapacity / 2, 3)), Error::kArenaFull);
  AllocateArgs tagged = args(64);
  tagged.tag = Holder::kMaxTag;
  EXPECT_EQ(wrong(tagged), Error::kNone);
  tagged.tag = Holder::kMaxTag + 1;
  EXPECT_EQ(wrong(tagged), Error::kInvalidTag);
  AllocateArgs both = args(64);
  both.sizes = {64};
  EXPECT_EQ(wrong(both), Error::kInvalidSize);
  AllocateArgs sizes = args(0);
  sizes.sizes = {64, 0};
  EXPECT_EQ(wrong(sizes), Error::kInvalidSize);
  sizes.sizes = {kPartsCapacity, 1};
  EXPECT_EQ(wrong(sizes), Error::kArenaFull);
}

TEST_F(AllocateCalls, BlocksAreChargedByStrideAndNotedInTheFootprint) {
  ASSERT_EQ(attempt(args(100, 3)), Error::kNone);
  ASSERT_EQ(out.blocks.size(), 3u);
  ASSERT_EQ(out.usable_bytes.size(), 1u);
  EXPECT_GE(out.usable_bytes[0], 100u);
  const Access access = zero.access(alice);
  EXPECT_EQ(access.attached->held.blocks, 3);
  EXPECT_EQ(charged(alice), static_cast<std::uint64_t>(access.attached->held.bytes));
  EXPECT_TRUE(access.attached->footprint.has(slot_of(out.blocks[0].ref).slab()));
  EXPECT_TRUE(zero.slot().in_turn);
}

TEST_F(AllocateCalls, AllocationAboveTheLimitTakesNothing) {
  EXPECT_EQ(attempt(args(1000, 1000)), Error::kQuotaSession);
  EXPECT_EQ(charged(alice), 0u);
  EXPECT_EQ(zero.slot().held.blocks, 0);
}

TEST_F(AllocateCalls, FullArenaGivesTheChargeBack) {
  const SessionKey unlimited = bob;
  attach(unlimited, AttachMode::kRemote);
  ASSERT_TRUE(zero.slot().heap.allocate(kPartsCapacity, {kReaperSession, 0}).ok());
  EXPECT_EQ(attempt(args(64)), Error::kArenaFull);
  EXPECT_EQ(charged(alice), 0u);
  EXPECT_TRUE(out.blocks.empty());
}

TEST_F(AllocateCalls, SeveralSizesComeTogetherOrNotAtAll) {
  AllocateArgs a = args(0);
  a.sizes = {8, 1000, 70'000};
  ASSERT_EQ(attempt(a), Error::kNone);
  EXPECT_EQ(out.blocks.size(), 3u);
  ASSERT_EQ(out.usable_bytes.size(), 3u);
  EXPECT_GE(out.usable_bytes[2], 70'000u);
  const std::uint64_t before = charged(alice);
  a.sizes = {8, 90'000};  // above the limit of 100,000 together with the blocks before
  EXPECT_EQ(attempt(a), Error::kQuotaSession);
  EXPECT_EQ(charged(alice), before);
  EXPECT_EQ(zero.access(alice).attached->held.blocks, 3);
}

TEST_F(AllocateCalls, QuarantinedArenaGivesNothing) {
  state->arena->quarantine("a test");
  EXPECT_EQ(attempt(args(64)), Error::kQuarantined);
  EXPECT_NE(kind.refusal(Error::kQuarantined, args(64), zero.slot()).message.find("a test"),
            std::string::npos);
}

TEST_F(AllocateCalls, AskedForIsSaidInWords) {
  EXPECT_EQ(AllocateCall::asked_for(args(64)), "1 block of 64 bytes");
  EXPECT_EQ(AllocateCall::asked_for(args(64, 3)), "3 blocks of 64 bytes");
  AllocateArgs a = args(0);
  a.sizes = {1, 2};
  EXPECT_EQ(AllocateCall::asked_for(a), "2 blocks of given sizes");
}

}  // namespace
}  // namespace arenad::server
