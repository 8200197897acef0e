// Share and release through the daemon, among each other and with peers that do it in memory.
#include "tests/core/peer_client.h"

namespace arenad::server {
namespace {

class Sharing : public ::testing::Test {
 protected:
  void SetUp() override {
    arena = daemon.create("a", 16 * kMiB)->id;
    alice = daemon.open_attached("a", "alice");
    bob = daemon.open_attached("a", "bob");
  }
  static EngineOptions options() {
    EngineOptions o;
    o.tunables = {{"keepalive_grace_ms", "600000"}};
    o.limits.max_user_sharers = 40;
    return o;
  }
  std::vector<std::uint64_t> allocate(SessionKey key, std::uint32_t count,
                                      std::uint32_t shard = 0) {
    return refs_of(*daemon.allocate(shard, key, arena, 1024, count));
  }
  BlockFacts::State state(std::uint64_t ref) {
    return (*daemon.describe(0, alice, arena, {ref}))[0].state;
  }
  static Error first_error(const Answer<PerRefAnswer>& answer) {
    return answer.ok() && !answer->errors.empty() ? answer->errors[0].error : Error::kNone;
  }
  Daemon daemon{2, options()};
  ArenaId arena;
  SessionKey alice, bob;
};

TEST_F(Sharing, LastOneOutFreesTheBlock) {
  const auto refs = allocate(alice, 3);
  EXPECT_EQ(daemon.share(0, alice, arena, refs)->done, 3u);
  EXPECT_EQ(daemon.share(1, bob, arena, refs)->done, 3u);
  EXPECT_EQ(daemon.share(1, bob, arena, refs)->done, 3u);  // again is nothing
  EXPECT_EQ(daemon.release(0, alice, arena, refs)->done, 3u);
  EXPECT_EQ(state(refs[0]), BlockFacts::State::kShared);
  EXPECT_EQ(first_error(daemon.release(0, alice, arena, {refs[0]})), Error::kNotHolder);
  expect_exact(daemon, 3);
  EXPECT_EQ(daemon.release(1, bob, arena, {refs[0]})->done, 1u);
  // The other two keep the slab: with an empty slab's ref the answer may be STALE_REF.
  EXPECT_EQ(first_error(daemon.share(0, bob, arena, {refs[0]})), Error::kDoubleFree);
  EXPECT_EQ(daemon.release(1, bob, arena, {refs[1], refs[2]})->done, 2u);
  EXPECT_EQ(daemon.stats()->held_blocks, 0u);
  expect_exact(daemon, 0);
}

TEST_F(Sharing, HolderMustShareFirstAndNobodyFreesWhatIsShared) {
  const auto refs = allocate(alice, 1);
  const auto early = daemon.share(0, bob, arena, refs);
  ASSERT_EQ(early->errors.size(), 1u);
  EXPECT_EQ(early->errors[0].error, Error::kNotHolder);
  EXPECT_NE(early->errors[0].message.find("is not shared"), std::string::npos);
  EXPECT_EQ(early->done, 0u);
  ASSERT_EQ(daemon.share(0, alice, arena, refs)->done, 1u);
  EXPECT_EQ(first_error(daemon.free(0, alice, arena, refs)), Error::kNotHolder);
  EXPECT_EQ(first_error(daemon.acquire(0, bob, arena, refs)), Error::kNotHolder);
  EXPECT_EQ(first_error(daemon.release(0, bob, arena, refs)), Error::kNotHolder);
  EXPECT_EQ(first_error(daemon.share(0, alice, arena, {0x1234})), Error::kForeignRef);
  EXPECT_EQ(first_error(daemon.release(0, alice, arena, {0x1234})), Error::kForeignRef);
  EXPECT_EQ(daemon.share(0, alice, arena, std::vector<std::uint64_t>(16385)).error().error,
            Error::kInvalidCount);
  EXPECT_EQ(daemon.release(0, alice, arena, std::vector<std::uint64_t>(16385)).error().error,
            Error::kInvalidCount);
  const SessionKey reader = daemon.open_attached("a", "reader", AttachMode::kReader);
  EXPECT_EQ(daemon.share(0, reader, arena, refs).error().error, Error::kReadOnly);
  EXPECT_EQ(daemon.release(0, reader, arena, refs).error().error, Error::kReadOnly);
}

TEST_F(Sharing, EndOfASharerIsARelease) {
  const auto both = allocate(alice, 10), bobs = allocate(bob, 5, 1);
  ASSERT_EQ(daemon.share(0, alice, arena, both)->done, 10u);
  ASSERT_EQ(daemon.share(0, bob, arena, both)->done, 10u);
  ASSERT_EQ(daemon.share(0, bob, arena, bobs)->done, 5u);
  const auto given = daemon.close(bob);
  EXPECT_EQ(given->blocks, 5u);
  EXPECT_EQ(daemon.stats()->held_blocks, 10u);
  expect_exact(daemon, 10);
  EXPECT_EQ(daemon.close(alice)->blocks, 10u);
  expect_exact(daemon, 0);
}

TEST_F(Sharing, FortySessionsShareThenTheirSlotsComeBack) {
  std::vector<SessionKey> sharers;
  for (int i = 0; i < 40; ++i) {
    sharers.push_back(daemon.open_attached("a"));
    ASSERT_EQ(daemon.share(0, sharers.back(), arena, allocate(sharers.back(), 1))->done, 1u) << i;
  }
  const auto one_more = allocate(alice, 1);
  EXPECT_EQ(first_error(daemon.share(0, alice, arena, one_more)), Error::kSharersFull);
  ASSERT_TRUE(daemon.close(sharers[7]).ok());
  EXPECT_EQ(daemon.share(0, alice, arena, one_more)->done, 1u);
  expect_exact(daemon, 40);
}

TEST_F(Sharing, RefusalForWantOfBitsNamesWhoHasThemToAdministrators) {
  for (int i = 0; i < 40; ++i) {
    const SessionKey sharer = daemon.open_attached("a");
    ASSERT_EQ(daemon.share(0, sharer, arena, allocate(sharer, 1))->done, 1u) << i;
  }
  const auto full = daemon.share(0, alice, arena, allocate(alice, 1));
  const std::string& message = full->errors.at(0).message;
  EXPECT_NE(message.find("most: 40 sessions of uid 0)"), std::string::npos) << message;
  auto other = std::make_shared<Principal>(*daemon_itself());
  other->is_admin = false;
  const auto opened = daemon.open("other", 0, other);
  ASSERT_TRUE(daemon.attach(opened->key, "a").ok());
  const auto refused = daemon.share(1, opened->key, arena, allocate(opened->key, 1));
  EXPECT_EQ(refused->errors.at(0).message.find("most:"), std::string::npos);
}

// Sessions of several users in an arena that is open to all.
class SharersOfUsers : public ::testing::Test {
 protected:
  void SetUp() override {
    CreateArenaArgs args;
    args.name = "a";
    args.capacity_bytes = 16 * kMiB;
    args.has_access = true;
    args.access.mode = 0666;
    arena = daemon.create(args)->id;
  }
  static EngineOptions options() {
    EngineOptions o;
    o.limits.max_user_sharers = 3;
    return o;
  }
  static Caller user(std::uint32_t uid) {
    auto user = std::make_shared<Principal>();
    user->uid = uid;
    return user;
  }
  SessionKey open(const Caller& owner) {
    const auto opened = daemon.open("s", 0, owner);
    EXPECT_TRUE(daemon.attach(opened->key, "a").ok());
    return opened->key;
  }
  // A new block, shared. Answers why not.
  RefFailure share(SessionKey key, std::uint32_t shard = 0) {
    const auto refs = refs_of(*daemon.allocate(shard, key, arena, 64));
    const auto answer = daemon.share(shard, key, arena, refs);
    return answer->errors.empty() ? RefFailure{} : answer->errors[0];
  }
  Daemon daemon{2, options()};
  ArenaId arena;
};

TEST_F(SharersOfUsers, OneUserHasAtMostSoMany) {
  std::vector<SessionKey> sharers;
  for (std::uint32_t i = 0; i < 3; ++i) {
    sharers.push_back(open(user(1000)));
    ASSERT_EQ(share(sharers.back(), i % 2).error, Error::kNone);
  }
  const SessionKey late = open(user(1000)), other = open(user(1001));
  for (const std::uint32_t shard : {0u, 1u}) {
    const RefFailure refused = share(late, shard);
    EXPECT_EQ(refused.error, Error::kQuotaUser);
    EXPECT_NE(
        refused.message.find("3 sessions of uid 1000 share blocks of arena 'a', and the limit "
                             "max_user_sharers is 3"),
        std::string::npos)
        << refused.message;
  }
  EXPECT_EQ(share(sharers[0]).error, Error::kNone) << "who has a bit shares on";
  EXPECT_EQ(share(other).error, Error::kNone);
  ASSERT_TRUE(daemon.detach(sharers[1], arena, {}, true).ok());
  EXPECT_EQ(share(late).error, Error::kNone);
}

TEST_F(SharersOfUsers, HoldsForAdministratorsAndForEachArenaByItself) {
  for (int i = 0; i < 3; ++i) ASSERT_EQ(share(open(daemon_itself())).error, Error::kNone);
  const SessionKey late = open(daemon_itself());
  EXPECT_EQ(share(late).error, Error::kQuotaUser);
  const ArenaId second = daemon.create("b", 4 * kMiB)->id;
  ASSERT_TRUE(daemon.attach(late, "b").ok());
  const auto refs = refs_of(*daemon.allocate(0, late, second, 64));
  EXPECT_EQ(daemon.share(0, late, second, refs)->done, 1u);
}

// A peer writes the table itself. What it has there counts.
TEST_F(SharersOfUsers, BitsThatPeersTookThemselvesCount) {
  PeerClient peer(daemon, "a", "peer", 0, user(1000));
  peer.lease(1024, 1);
  EXPECT_EQ(peer.on("share", peer.allocate(1024, 1)), "done=1");
  ASSERT_EQ(share(open(user(1000))).error, Error::kNone);
  ASSERT_EQ(share(open(user(1000))).error, Error::kNone);
  EXPECT_EQ(share(open(user(1000))).error, Error::kQuotaUser);
}

TEST_F(Sharing, BlockIsPaidForByWhomItWasGivenToAndHeldOnce) {
  const SessionKey giver = daemon.open_attached("a", "giver", AttachMode::kRemote, 6 * 1024);
  const SessionKey small = daemon.open_attached("a", "small", AttachMode::kRemote, 1024);
  const auto paid = allocate(giver, 6);
  ASSERT_EQ(daemon.share(0, giver, arena, paid)->done, 6u);
  EXPECT_EQ(daemon.share(0, small, arena, paid)->done, 6u) << "sharers pay nothing";
  EXPECT_TRUE(daemon.allocate(0, small, arena, 1024).ok());
  ASSERT_EQ(daemon.release(1, giver, arena, paid)->done, 6u);
  EXPECT_EQ(daemon.allocate(0, giver, arena, 1024).error().error, Error::kQuotaSession);
  ASSERT_EQ(daemon.release(1, small, arena, paid)->done, 6u);
  EXPECT_TRUE(daemon.allocate(0, giver, arena, 1024, 6).ok());
  ASSERT_TRUE(daemon.close(giver).ok());
  ASSERT_TRUE(daemon.close(small).ok());
}

TEST_F(Sharing, SharedBlockIsHeldOnceAndHasAllOfItsHolders) {
  const SessionKey small = daemon.open_attached("a", "small");
  const auto refs = allocate(alice, 6);
  ASSERT_EQ(daemon.share(0, alice, arena, refs)->done, 6u);
  ASSERT_EQ(daemon.share(0, small, arena, {refs.begin(), refs.begin() + 4})->done, 4u);
  EXPECT_EQ(daemon.arena("a")->held_blocks, 6u);
  const auto holders = wait_for<Holders>(
      [&](auto done) { daemon.control().list_holders(daemon_itself(), "a", 0, done); });
  ASSERT_EQ(holders->rows.size(), 2u);
  EXPECT_EQ(holders->rows[0].session_name, "alice");
  EXPECT_EQ(holders->rows[0].blocks, 6u);
  EXPECT_EQ(holders->rows[1].session_name, "small");
  EXPECT_EQ(holders->rows[1].blocks, 4u);
  EXPECT_EQ(holders->total_blocks, 6u);
}

TEST_F(Sharing, PeersAndTheDaemonShareTheSameBlocks) {
  auto peer = std::make_unique<PeerClient>(daemon, "a");
  peer->lease(1024, 1);
  const auto theirs = peer->allocate(1024, 10);
  const auto servers = allocate(alice, 10);
  EXPECT_EQ(peer->on("share", theirs), "done=10");
  EXPECT_EQ(daemon.share(0, alice, arena, theirs)->done, 10u);
  EXPECT_EQ(daemon.share(1, alice, arena, servers)->done, 10u);
  EXPECT_EQ(peer->on("share", servers), "done=10");
  EXPECT_EQ(peer->on("release", theirs), "done=10");
  EXPECT_EQ(daemon.release(0, alice, arena, servers)->done, 10u);
  expect_exact(daemon, 20);
  peer->process.kill();  // its own slab lives on: alice shares what is in it
  ASSERT_TRUE(eventually([&] { return daemon.sessions().size() == 2; }));
  EXPECT_EQ(daemon.arena("a")->held_blocks, 10u);
  expect_exact(daemon, 10);
  EXPECT_EQ(daemon.release(1, alice, arena, theirs)->done, 10u);
  expect_exact(daemon, 0);
}

}  // namespace
}  // namespace arenad::server
