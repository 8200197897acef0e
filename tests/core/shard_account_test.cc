// What a shard writes down about who holds how much.
#include "server/core/shard/shard_account.h"

#include "tests/core/shard_parts.h"
#include "tests/support/sizes.h"

namespace arenad::server {
namespace {

class ShardAccounts : public ShardParts {
 protected:
  ShardAccounts() : ShardParts(AttachMode::kPeer, 1000) { attach(bob, AttachMode::kRemote); }
  HeldShare held(SessionKey key) { return zero.access(key).attached->held; }
};

TEST_F(ShardAccounts, BlocksThatWereGivenAreCountedForSessionAndArena) {
  ASSERT_EQ(zero.account.charge(alice.id, 192), Error::kNone);
  zero.account.gave(zero.access(alice), 3, 192);
  EXPECT_EQ(held(alice).blocks, 3);
  EXPECT_EQ(held(alice).bytes, 192);
  EXPECT_EQ(zero.slot().held.bytes, 192);
  EXPECT_EQ(charged(alice), 192u);
}

TEST_F(ShardAccounts, ChargeAboveTheLimitIsRefusedWithTheFigures) {
  ASSERT_EQ(zero.account.charge(alice.id, 900), Error::kNone);
  EXPECT_EQ(zero.account.charge(alice.id, 101), Error::kQuotaSession);
  const Failure failure = zero.account.refusal(Error::kQuotaSession, alice);
  EXPECT_EQ(failure.error, Error::kQuotaSession);
  EXPECT_NE(failure.message.find("session 5 holds 900 B of its limit of 1000 B"), std::string::npos)
      << failure.message;
}

TEST_F(ShardAccounts, BlockIsPaidForByWhomItWasAllocatedForUntilItIsHome) {
  Heap& heap = zero.slot().heap;
  ASSERT_EQ(zero.account.charge(alice.id, 64), Error::kNone);
  const auto block = heap.allocate_aligned(64, 0, {alice.id, 0});
  ASSERT_TRUE(block.ok());
  zero.account.spent(zero.slot(), alice.id, 64);
  EXPECT_EQ(charged(alice), 64u);

  // A peer writes that bob holds the block, and then that it is free.
  AtomicWord& word = state->arena->word(state->arena->refs().slot_of(block->ref));
  word.store(BlockWord::held(BlockWord::free_of(word.load()), {bob.id, 0}));
  ASSERT_EQ(heap.free_checked({block->ref.value}, bob.id, kNoSession).holder.session(), bob.id);
  EXPECT_EQ(charged(alice), 64u);
  zero.account.settle(zero.slot());
  EXPECT_EQ(charged(alice), 0u);
  EXPECT_EQ(charged(bob), 0u);
}

TEST_F(ShardAccounts, ChargeWhoseMemoryWasNotGivenIsGivenBack) {
  ASSERT_EQ(zero.account.charge(alice.id, 640), Error::kNone);
  ASSERT_TRUE(zero.slot().heap.allocate_aligned(64, 0, {alice.id, 0}).ok());
  zero.account.spent(zero.slot(), alice.id, 640);
  EXPECT_EQ(charged(alice), 64u);
}

TEST_F(ShardAccounts, NobodyPaysInAnArenaThatIsGone) {
  ASSERT_TRUE(zero.slot().heap.allocate_aligned(64, 0, {alice.id, 0}).ok());
  ASSERT_TRUE(zero.slot().heap.allocate_aligned(64, 0, {bob.id, 0}).ok());
  ASSERT_TRUE(zero.slot().heap.allocate_aligned(kUnit, 0, {bob.id, 0}).ok());
  zero.account.settle(zero.slot());
  EXPECT_EQ(charged(alice), 64u);
  EXPECT_EQ(charged(bob), 64u + kUnit);
  zero.slot().heap.forgive_payments();
  zero.account.settle(zero.slot());
  EXPECT_EQ(charged(alice), 0u);
  EXPECT_EQ(charged(bob), 0u);
}

TEST_F(ShardAccounts, HolderThatIsBeingReapedHasNoShare) {
  zero.account.gave(zero.access(alice), 1, 64);
  zero.tables.remove_session(alice.id);
  zero.account.took(zero.slot(), alice.id, 1, 64);
  EXPECT_EQ(zero.slot().held.blocks, 0);
}

TEST_F(ShardAccounts, FreesAreNotedForEachHolder) {
  {
    FreesOfOneHolder frees(zero.account, zero.slot());
    frees.add(alice.id, 64);
    frees.add(alice.id, 64);
    frees.add(bob.id, 32);
    EXPECT_EQ(held(alice).blocks, -2);  // noted when the holder changed
    EXPECT_EQ(held(bob).blocks, 0);
  }
  EXPECT_EQ(held(bob).blocks, -1);
  EXPECT_EQ(held(bob).bytes, -32);
  EXPECT_EQ(zero.slot().held.blocks, -3);
}

}  // namespace
}  // namespace arenad::server
