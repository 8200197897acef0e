// Free, acquire, share, release and describe on one shard.
#include "server/core/shard/block_calls.h"

#include "server/core/shard/allocate_call.h"
#include "tests/core/shard_parts.h"

namespace arenad::server {
namespace {

class BlockCallsTest : public ShardParts {
 protected:
  BlockCallsTest() : ShardParts(AttachMode::kRemote, 1 << 20) { attach(bob, AttachMode::kRemote); }
  std::vector<std::uint64_t> allocate(std::uint32_t count) {
    AllocatedBlocks out;
    EXPECT_EQ(allocating.attempt(zero.access(alice), wants(alice, 64, count), out), Error::kNone);
    std::vector<std::uint64_t> refs;
    for (const Allocation& block : out.blocks) refs.push_back(block.ref.value);
    return refs;
  }
  std::int64_t held(SessionKey key) { return zero.access(key).attached->held.blocks; }

  AllocateCall allocating{zero.tables, zero.account, zero.turn};
  BlockCalls calls{zero.tables, zero.account, zero.payer_changes, zero.turn, shared};
};

TEST_F(BlockCallsTest, FreeCreditsTheHolderAndSaysThatMemoryCameBack) {
  const auto refs = allocate(3);
  EXPECT_EQ(calls.free(bob, arena, refs, FreeScope::kAll)->done, 3u);
  EXPECT_EQ(held(alice), 0);
  EXPECT_EQ(charged(alice), 0u);
  EXPECT_TRUE(zero.slot().freed);
}

TEST_F(BlockCallsTest, FreeOfOwnBlocksLeavesWhatAnotherHolds) {
  const auto refs = allocate(2);
  ASSERT_EQ(calls.acquire(bob, arena, std::vector{refs[0]}, 0)->done, 1u);
  const auto answer = calls.free(alice, arena, refs, FreeScope::kOwn);
  EXPECT_EQ(answer->done, 1u);
  ASSERT_EQ(answer->errors.size(), 1u);
  EXPECT_EQ(answer->errors[0].error, Error::kNotHolder);
  EXPECT_EQ(held(alice), 0);
  EXPECT_EQ(held(bob), 1);
}

TEST_F(BlockCallsTest, TakeOverUnderATagOfTooManyBitsTakesNothing) {
  const auto refs = allocate(1);
  EXPECT_EQ(calls.acquire(bob, arena, refs, Holder::kMaxTag + 1).error().error, Error::kInvalidTag);
  EXPECT_EQ(held(alice), 1);
  EXPECT_EQ(calls.acquire(bob, arena, refs, Holder::kMaxTag)->done, 1u);
}

TEST_F(BlockCallsTest, EachBadRefFailsAloneAndByItsIndex) {
  auto refs = allocate(2);
  refs.insert(refs.begin() + 1, 12345);
  const auto answer = calls.free(alice, arena, refs, FreeScope::kAll);
  EXPECT_EQ(answer->done, 2u);
  ASSERT_EQ(answer->errors.size(), 1u);
  EXPECT_EQ(answer->errors[0].index, 1u);
  EXPECT_EQ(answer->errors[0].ref.value, 12345u);
  EXPECT_NE(answer->errors[0].message.find("is not freed"), std::string::npos);
  EXPECT_EQ(calls.free(alice, arena, refs, FreeScope::kAll)->errors.size(), 3u);
  EXPECT_EQ(held(alice), 0);
}

TEST_F(BlockCallsTest, AcquireMovesTheBlockAndItsCharge) {
  const auto refs = allocate(1);
  const std::uint64_t bytes = charged(alice);
  EXPECT_EQ(calls.acquire(bob, arena, refs, 7)->done, 1u);
  EXPECT_EQ(held(alice), 0);
  EXPECT_EQ(held(bob), 1);
  EXPECT_EQ(charged(alice), 0u);
  EXPECT_EQ(charged(bob), bytes);
  EXPECT_EQ((*calls.describe(alice, arena, refs))[0].holder.session(), bob.id);
}

TEST_F(BlockCallsTest, AcquireAboveTheLimitLeavesTheBlockWithItsHolder) {
  const auto refs = allocate(1);
  shared.account.open(bob.id, 10);
  const auto answer = calls.acquire(bob, arena, refs, 0);
  ASSERT_EQ(answer->errors.size(), 1u);
  EXPECT_EQ(answer->errors[0].error, Error::kQuotaSession);
  EXPECT_EQ(held(alice), 1);
  EXPECT_EQ(charged(bob), 0u);
}

TEST_F(BlockCallsTest, SharedBlockIsPaidForOnceUntilTheLastSharerReleasesIt) {
  const auto refs = allocate(1);
  const std::uint64_t bytes = charged(alice);
  EXPECT_EQ(calls.share(alice, arena, refs)->done, 1u);
  EXPECT_EQ(calls.share(bob, arena, refs)->done, 1u);
  EXPECT_TRUE(state->counts_from_words);
  EXPECT_EQ(calls.release(alice, arena, refs)->done, 1u);
  EXPECT_EQ(charged(alice), bytes) << "who was given the block pays, whoever shares it";
  EXPECT_EQ(charged(bob), 0u);
  EXPECT_EQ(calls.release(bob, arena, refs)->done, 1u);
  EXPECT_EQ(charged(alice), 0u);
}

TEST_F(BlockCallsTest, ShareOfABlockOfAnotherSessionChargesNothing) {
  const auto refs = allocate(1);
  EXPECT_EQ(calls.share(bob, arena, refs)->errors[0].error, Error::kNotHolder);
  EXPECT_EQ(charged(bob), 0u);
}

TEST_F(BlockCallsTest, TooManyRefsAreRefusedAsAWhole) {
  const std::vector<std::uint64_t> many(kMaxBlocksPerCall + 1);
  EXPECT_EQ(calls.free(alice, arena, many, FreeScope::kAll).error().error, Error::kInvalidCount);
  EXPECT_EQ(calls.describe(alice, arena, many).error().error, Error::kInvalidCount);
}

TEST_F(BlockCallsTest, ReaderDescribesAndChangesNothing) {
  const auto refs = allocate(1);
  zero.tables.attach(bob.id, arena, AttachMode::kReader);
  EXPECT_TRUE(calls.describe(bob, arena, refs).ok());
  EXPECT_EQ(calls.free(bob, arena, refs, FreeScope::kAll).error().error, Error::kReadOnly);
  EXPECT_EQ(calls.acquire(bob, arena, refs, 0).error().error, Error::kReadOnly);
  EXPECT_EQ(held(alice), 1);
}

}  // namespace
}  // namespace arenad::server
