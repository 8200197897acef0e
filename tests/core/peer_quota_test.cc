// Byte limits of sessions in arenas with peers: leases count whole, and what changes hands in
// memory changes no account.
#include "tests/core/peer_client.h"

namespace arenad::server {
namespace {

class PeerQuota : public ::testing::Test {
 protected:
  void SetUp() override { arena = daemon.create("a", 32 * kMiB)->id; }
  static EngineOptions options() {
    EngineOptions o;
    o.tunables = {{"keepalive_grace_ms", "600000"}};
    return o;
  }
  Daemon daemon{2, options()};
  ArenaId arena;
};

TEST_F(PeerQuota, LeasesCountWholeAndUntilTheyAreReturned) {
  PeerClient peer(daemon, "a", "peer", 16 * kUnit);
  const auto got = daemon.lease(0, peer.lease_args(64, 100));
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(got->slabs.size(), 16u);
  const auto refused = daemon.lease(1, peer.lease_args(64, 1));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().error, Error::kQuotaSession);
  EXPECT_NE(refused.error().message.find("1 MiB of its limit of 1 MiB"), std::string::npos)
      << refused.error().message;
  // Allocation through the daemon is under the same limit, blocks on its own leases cost nothing
  // more.
  EXPECT_EQ(daemon.allocate(0, peer.key, arena, 64).error().error, Error::kQuotaSession);
  peer.give(64, got->slabs);
  peer.allocate(64, 16 * 1024);
  EXPECT_EQ(daemon.give_back(1, peer.key, arena, {got->slabs[0]})->returned,
            1u);  // with 1024 blocks out: they count still
  EXPECT_EQ(daemon.lease(0, peer.lease_args(64, 1)).error().error, Error::kQuotaSession);
  const auto spare = daemon.close(peer.key);
  EXPECT_EQ(spare->blocks, 16u * 1024);
}

TEST_F(PeerQuota, BlocksOnOwnLeasesNeitherCostNorGiveAnything) {
  PeerClient peer(daemon, "a", "peer", 5 * kUnit);
  const SessionKey other = daemon.open_attached("a", "other");
  peer.lease(4096, 4);
  const auto refs = peer.allocate(4096, 60);  // each third of them is more than a slab
  ASSERT_EQ(daemon.acquire(0, peer.key, arena, refs)->done, 60u);  // of itself
  ASSERT_EQ(daemon.free(0, peer.key, arena, {refs.begin(), refs.begin() + 20})->done, 20u);
  ASSERT_EQ(daemon.acquire(1, other, arena, {refs.begin() + 20, refs.begin() + 40})->done, 20u);
  ASSERT_EQ(daemon.free(1, other, arena, {refs.begin() + 40, refs.end()})->done,
            20u);  // for the peer
  const auto more = daemon.lease(0, peer.lease_args(64, 5));
  ASSERT_TRUE(more.ok());
  EXPECT_EQ(more->slabs.size(), 1u);
}

TEST_F(PeerQuota, ReturnedLeasesMayBeTakenAgain) {
  PeerClient peer(daemon, "a", "peer", 4 * kUnit);
  for (int i = 0; i < 10; ++i) {
    const auto got = daemon.lease(i % 2, peer.lease_args(64, 10));
    ASSERT_TRUE(got.ok()) << got.error().message;
    ASSERT_EQ(got->slabs.size(), 4u);
    ASSERT_EQ(daemon.give_back(1, peer.key, arena, got->slabs)->returned, 4u);
  }
}

TEST(PeerQuotaLimits, SessionsOwnLimitIsAtMostTheDaemons) {
  EngineOptions options;
  options.limits.max_session_bytes = 4 * kUnit;
  Daemon daemon(1, options);
  const auto arena = daemon.create("a", 8 * kMiB);
  for (const std::uint64_t asked :
       {std::uint64_t{0}, std::uint64_t{3 * kUnit}, ~std::uint64_t{0}}) {
    const SessionKey key = daemon.open_attached("a", "s", AttachMode::kRemote, asked);
    const std::uint32_t most = asked == 3 * kUnit ? 3 : 4;
    EXPECT_EQ(daemon.allocate(0, key, arena->id, kUnit, most + 1).error().error,
              Error::kQuotaSession);
    EXPECT_TRUE(daemon.allocate(0, key, arena->id, kUnit, most).ok());
    EXPECT_EQ(daemon.allocate(0, key, arena->id, 8).error().error, Error::kQuotaSession);
    ASSERT_TRUE(daemon.close(key).ok());
  }
}

TEST(PeerQuotaLimits, IdThatIsUsedAgainHasTheLimitOfItsNewSession) {
  EngineOptions options;
  options.limits.max_sessions = 1;
  Daemon daemon(1, options);
  const auto arena = daemon.create("a", 8 * kMiB);
  const SessionKey small = daemon.open_attached("a", "small", AttachMode::kRemote, kUnit);
  EXPECT_FALSE(daemon.allocate(0, small, arena->id, kUnit, 2).ok());
  ASSERT_TRUE(daemon.close(small).ok());
  const SessionKey free = daemon.open_attached("a", "free");
  EXPECT_TRUE(daemon.allocate(0, free, arena->id, kUnit, 20).ok());
}

// The daemon sees nothing of it when a peer frees what a shard allocated for somebody.
TEST_F(PeerQuota, BlocksThatAPeerFreedInMemoryAreTakenBackBeforeTheirPayerIsRefused) {
  PeerClient peer(daemon, "a");
  const SessionKey key = daemon.open_attached("a", "holder", AttachMode::kRemote, 8 * kUnit);
  auto got = daemon.allocate(0, key, arena, kUnit, 8);
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(daemon.allocate(1, key, arena, kUnit).error().error, Error::kQuotaSession);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(peer.on("free", refs_of(*got)), "done=8");
    got = daemon.allocate(i % 2, key, arena, kUnit, 8);
    ASSERT_TRUE(got.ok()) << got.error().message;
  }
}

// What a peer writes into block words changes nobody's account: not the peer's own, and not that of
// a session which it names.
TEST_F(PeerQuota, WhoWasGivenABlockPaysWhateverTheWordSays) {
  PeerClient peer(daemon, "a", "peer", 8 * kUnit);
  const SessionKey giver = daemon.open_attached("a", "giver", AttachMode::kRemote, 8 * kUnit);
  const SessionKey other = daemon.open_attached("a", "other", AttachMode::kRemote, 8 * kUnit);
  const auto got = daemon.allocate(0, giver, arena, kUnit, 6);
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(peer.on("acquire", refs_of(*got)), "done=6");
  EXPECT_EQ(daemon.lease(0, peer.lease_args(64, 8))->slabs.size(), 8u);
  EXPECT_EQ(daemon.allocate(1, giver, arena, kUnit, 3).error().error, Error::kQuotaSession);

  peer.forge(other, refs_of(*got));
  EXPECT_TRUE(daemon.allocate(1, other, arena, kUnit, 8).ok());
  EXPECT_EQ(daemon.allocate(1, giver, arena, kUnit, 3).error().error, Error::kQuotaSession);
  EXPECT_EQ(daemon.free(1, other, arena, refs_of(*got))->done, 6u);
  EXPECT_TRUE(daemon.allocate(1, giver, arena, kUnit, 8).ok());
}

// Nor does a peer get rid of what it pays for by returning the lease in which the blocks lie.
TEST_F(PeerQuota, ReturnedLeaseIsPaidForAsFarAsItIsStillOut) {
  PeerClient peer(daemon, "a", "peer", 8 * kUnit);
  const SessionKey other = daemon.open_attached("a", "other", AttachMode::kRemote, 8 * kUnit);
  const auto got = peer.lease(4096, 2);
  peer.forge(other, peer.allocate(4096, 32));
  ASSERT_EQ(daemon.give_back(1, peer.key, arena, got)->returned, 2u);
  EXPECT_EQ(daemon.lease(0, peer.lease_args(64, 8))->slabs.size(), 6u);
  EXPECT_TRUE(daemon.allocate(1, other, arena, kUnit, 8).ok());
}

TEST_F(PeerQuota, LeasesOfAnArenaThatThePeerHasLeftArePaidForNoMore) {
  const auto other = daemon.create("other", 8 * kMiB);
  PeerClient peer(daemon, "a", "peer", 8 * kUnit);
  ASSERT_TRUE(daemon.attach(peer.key, "other").ok());
  EXPECT_EQ(daemon.lease(0, peer.lease_args(64, 8))->slabs.size(), 8u);
  EXPECT_EQ(daemon.allocate(0, peer.key, other->id, 64).error().error, Error::kQuotaSession);
  ASSERT_TRUE(daemon.detach(peer.key, arena).ok());
  EXPECT_TRUE(daemon.allocate(1, peer.key, other->id, kUnit, 8).ok());
}

TEST_F(PeerQuota, WhatWasHeldInADeletedArenaCountsNoMore) {
  for (const bool mixed : {false, true}) {
    const auto other = daemon.create("other", 8 * kMiB);
    const SessionKey key = daemon.open_attached("a", "s", AttachMode::kRemote, 8 * kUnit);
    ASSERT_TRUE(daemon.attach(key, "other", mixed ? AttachMode::kPeer : AttachMode::kRemote).ok());
    ASSERT_TRUE(daemon.allocate(0, key, other->id, kUnit, 5).ok());
    ASSERT_TRUE(daemon.allocate(1, key, arena, kUnit, 2).ok());
    EXPECT_EQ(daemon.allocate(1, key, arena, kUnit, 2).error().error, Error::kQuotaSession);
    ASSERT_TRUE(daemon.remove("other", true).ok());
    EXPECT_TRUE(eventually([&] { return daemon.allocate(1, key, arena, kUnit, 6).ok(); }));
    EXPECT_EQ(daemon.allocate(1, key, arena, 8).error().error, Error::kQuotaSession);
    ASSERT_TRUE(daemon.close(key).ok());
  }
}

TEST_F(PeerQuota, ManyRequestsAtTheLimitAreAllAnswered) {
  PeerClient peer(daemon, "a", "peer", 8 * kUnit);
  ASSERT_TRUE(daemon.lease(0, peer.lease_args(64, 8)).ok());
  std::vector<std::future<Answer<LeasedSlabs>>> leases;
  std::vector<std::future<Answer<AllocatedBlocks>>> allocations;
  for (std::uint32_t i = 0; i < 20; ++i) {
    LeaseArgs args = peer.lease_args(64, 1);
    args.wait_ms = i % 3 == 0 ? 600'000 : 0;  // waiting is for memory, a limit is no reason to
    leases.push_back(daemon.lease_later(i % 2, args));
    AllocateArgs allocate;
    allocate.session = peer.key;
    allocate.arena_id = arena;
    allocate.size_bytes = 64;
    allocations.push_back(daemon.allocate_later(i % 2, allocate));
  }
  for (auto& lease : leases)
    EXPECT_EQ(answer_of(std::move(lease)).error().error, Error::kQuotaSession);
  for (auto& allocation : allocations)
    EXPECT_EQ(answer_of(std::move(allocation)).error().error, Error::kQuotaSession);
}

// All sessions of a user who is no administrator have one limit together.
class UserQuota : public ::testing::Test {
 protected:
  void SetUp() override {
    CreateArenaArgs args;
    args.name = "a";
    args.capacity_bytes = 32 * kMiB;
    args.has_access = true;
    args.access.mode = 0666;
    arena = daemon.create(args)->id;
  }
  static EngineOptions options() {
    EngineOptions o;
    o.limits.max_user_bytes = 8 * kUnit;
    return o;
  }
  SessionKey open(std::uint32_t uid) {
    auto user = std::make_shared<Principal>();
    user->uid = uid;
    const auto opened = wait_for<OpenedSession>(
        [&](auto done) { daemon.control().open_session(user, {.name = "s"}, done); });
    EXPECT_TRUE(daemon.attach(opened->key, "a").ok());
    return opened->key;
  }
  Daemon daemon{2, options()};
  ArenaId arena;
};

TEST_F(UserQuota, HoldsForAllSessionsOfAUserAndNotForOtherUsersAndAdministrators) {
  const SessionKey one = open(1000), two = open(1000), other = open(1001);
  const SessionKey admin = daemon.open_attached("a");
  ASSERT_TRUE(daemon.allocate(0, one, arena, kUnit, 5).ok());
  const auto refused = daemon.allocate(1, two, arena, kUnit, 4);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().error, Error::kQuotaUser);
  const std::string facts =
      "the sessions of uid 1000 hold and lease 320 KiB of the limit max_user_bytes, 512 KiB";
  EXPECT_NE(refused.error().message.find(facts), std::string::npos) << refused.error().message;
  const auto got = daemon.allocate(1, two, arena, kUnit, 3);
  ASSERT_TRUE(got.ok());
  EXPECT_TRUE(daemon.allocate(0, other, arena, kUnit, 8).ok());
  EXPECT_TRUE(daemon.allocate(0, admin, arena, kUnit, 20).ok());

  ASSERT_EQ(daemon.free(0, two, arena, refs_of(*got))->done, 3u);
  ASSERT_TRUE(daemon.close(one).ok());
  EXPECT_TRUE(daemon.allocate(1, two, arena, kUnit, 8).ok()) << "what one had counts no more";
}

TEST_F(UserQuota, HoldsForTakeOvers) {
  const SessionKey admin = daemon.open_attached("a"), one = open(1000), two = open(1000);
  ASSERT_TRUE(daemon.allocate(0, one, arena, kUnit, 8).ok());
  const auto got = daemon.allocate(0, admin, arena, kUnit);
  const auto taken = daemon.acquire(1, two, arena, refs_of(*got));
  ASSERT_EQ(taken->errors.size(), 1u);
  EXPECT_EQ(taken->errors[0].error, Error::kQuotaUser);
}

TEST_F(UserQuota, BlocksThatAPeerFreedAreTakenBackBeforeASessionOfTheirUserIsRefused) {
  PeerClient peer(daemon, "a");
  const SessionKey one = open(1000), two = open(1000);
  auto got = daemon.allocate(0, one, arena, kUnit, 8);
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(daemon.allocate(0, two, arena, kUnit).error().error, Error::kQuotaUser);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(peer.on("free", refs_of(*got)), "done=8");  // the daemon sees nothing of it
    got = daemon.allocate(i % 2, i % 2 == 0 ? two : one, arena, kUnit, 8);
    ASSERT_TRUE(got.ok()) << got.error().message;
  }
}

TEST_F(UserQuota, WhoTakesOverByACallPaysAndTheGiverNoMore) {
  const SessionKey keeper = daemon.open_attached("a"), first = open(1000);
  const auto got = daemon.allocate(0, first, arena, kUnit, 5);
  ASSERT_TRUE(got.ok());
  ASSERT_EQ(daemon.acquire(1, keeper, arena, refs_of(*got))->done, 5u);
  EXPECT_TRUE(daemon.allocate(0, first, arena, kUnit, 8).ok());
  ASSERT_TRUE(daemon.close(first).ok());
  const SessionKey second = open(1000);
  EXPECT_TRUE(daemon.allocate(0, second, arena, kUnit, 8).ok());
}

TEST_F(UserQuota, HeirPaysWhenNobodyHasTakenOverByACall) {
  PeerClient consumer(daemon, "a");
  const SessionKey first = open(1000);
  const auto got = daemon.allocate(0, first, arena, kUnit, 5);
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(consumer.on("acquire", refs_of(*got)), "done=5");
  ASSERT_TRUE(daemon.close(first).ok());
  const SessionKey second = open(1000), other = open(1001);
  EXPECT_EQ(daemon.allocate(0, second, arena, kUnit, 4).error().error, Error::kQuotaUser);
  EXPECT_TRUE(daemon.allocate(0, other, arena, kUnit, 8).ok());
  EXPECT_EQ(consumer.on("free", refs_of(*got)), "done=5");
  EXPECT_TRUE(daemon.allocate(1, second, arena, kUnit, 8).ok());
}

TEST_F(UserQuota, HeirPaysForLeasesThatAnEndedPeerHasLeftBlocksIn) {
  const SessionKey keeper = daemon.open_attached("a");
  auto user = std::make_shared<Principal>();
  user->uid = 1000;
  PeerClient peer(daemon, "a", "peer", 0, user);
  peer.lease(4096, 4);
  const auto refs = peer.allocate(4096, 48);
  ASSERT_EQ(daemon.acquire(0, keeper, arena, {refs.begin(), refs.begin() + 16})->done, 16u);
  ASSERT_TRUE(daemon.close(peer.key).ok());
  const SessionKey next = open(1000);
  EXPECT_EQ(daemon.allocate(0, next, arena, kUnit, 8).error().error, Error::kQuotaUser);
  EXPECT_TRUE(daemon.allocate(0, next, arena, kUnit, 7).ok());
  ASSERT_EQ(daemon.free(0, keeper, arena, {refs.begin(), refs.begin() + 16})->done, 16u);
  EXPECT_TRUE(daemon.allocate(1, next, arena, kUnit).ok());
}

TEST_F(UserQuota, IsHalfOfTheDaemonsMemoryUnlessItIsSet) {
  EngineOptions small;
  small.limits.max_total_bytes = 16 * kUnit;
  Daemon other(1, small);
  EXPECT_EQ(other.engine().limits().max_user_bytes, 8 * kUnit);
  EXPECT_EQ(daemon.engine().limits().max_user_bytes, 8 * kUnit);
}

}  // namespace
}  // namespace arenad::server
