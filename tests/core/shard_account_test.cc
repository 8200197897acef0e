// What a shard writes down about who holds how much.
#include "server/core/shard/shard_account.h"

#include "tests/core/shard_parts.h"

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

TEST_F(ShardAccounts, BlockThatAnotherSessionFreedIsCreditedToItsHolder) {
  ASSERT_EQ(zero.account.charge(alice.id, 64), Error::kNone);
  zero.account.gave(zero.access(alice), 1, 64);
  zero.account.took(zero.slot(), alice.id, 1, 64);
  EXPECT_EQ(held(alice).blocks, 0);
  EXPECT_EQ(charged(alice), 0u);
  EXPECT_EQ(zero.slot().held.bytes, 0);
}

TEST_F(ShardAccounts, HolderThatIsBeingReapedIsNotCredited) {
  ASSERT_EQ(zero.account.charge(alice.id, 64), Error::kNone);
  zero.account.gave(zero.access(alice), 1, 64);
  zero.tables.remove_session(alice.id);
  zero.account.took(zero.slot(), alice.id, 1, 64);
  EXPECT_EQ(charged(alice), 64u);
  EXPECT_EQ(zero.slot().held.blocks, 0);
}

TEST_F(ShardAccounts, LeaseThatEndsWithBlocksOutIsReplacedByThoseBlocks) {
  ASSERT_EQ(zero.account.charge(alice.id, 800), Error::kNone);
  zero.account.lease_became_blocks(alice.id, 800, 128);
  EXPECT_EQ(charged(alice), 128u);
}

TEST_F(ShardAccounts, OnlyTheLesseePaysByItsLease) {
  const auto run = state->arena->grant({256}, RunOwner::leased_to(alice.id),
                                       state->arena->geometry().span_shape(1), {0});
  ASSERT_TRUE(run.ok());
  EXPECT_TRUE(ShardAccount::pays_by_lease(zero.slot(), *run, alice.id));
  EXPECT_FALSE(ShardAccount::pays_by_lease(zero.slot(), *run, bob.id));
}

TEST_F(ShardAccounts, FreesAreSettledForEachHolder) {
  {
    FreesOfOneHolder frees(zero.account, zero.slot());
    frees.add(alice.id, 64);
    frees.add(alice.id, 64);
    frees.add(bob.id, 32);
    EXPECT_EQ(held(alice).blocks, -2);  // settled when the holder changed
    EXPECT_EQ(held(bob).blocks, 0);
  }
  EXPECT_EQ(held(bob).blocks, -1);
  EXPECT_EQ(held(bob).bytes, -32);
  EXPECT_EQ(zero.slot().held.blocks, -3);
}

}  // namespace
}  // namespace arenad::server
