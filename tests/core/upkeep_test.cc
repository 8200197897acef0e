// What an administrator does about memory that is in use: Trim and SetSessionLimit.
#include "server/core/control/upkeep.h"

#include "tests/core/peer_client.h"

namespace arenad::server {
namespace {

class UpkeepTest : public ::testing::Test {
 protected:
  static EngineOptions options() {
    EngineOptions o;
    // What is empty stays committed, until somebody trims.
    o.tunables = {{"keep_empty_superslabs", "1000"}, {"commit_ahead_superslabs", "1"}};
    return o;
  }
  Answer<TrimFacts> trim(const std::string& name, const Caller& caller = daemon_itself()) {
    return wait_for<TrimFacts>([&](auto done) { daemon.control().trim(caller, name, done); });
  }
  Answer<SessionLimitFacts> limit(SessionId session, std::uint64_t bytes,
                                  const Caller& caller = daemon_itself()) {
    return wait_for<SessionLimitFacts>(
        [&](auto done) { daemon.control().limit_session(caller, session, bytes, done); });
  }
  static Caller user() {
    auto principal = std::make_shared<Principal>();
    principal->uid = 65534;
    return principal;
  }

  Daemon daemon{2, options()};
  ArenaId arena = daemon.create("a", 64 * kMiB)->id;
  SessionKey key = daemon.open_attached("a");
};

TEST_F(UpkeepTest, TrimGivesBackAllThatNobodyUses) {
  const auto blocks = daemon.allocate(0, key, arena, kMiB, 30);
  ASSERT_TRUE(blocks.ok());
  const auto kept = daemon.allocate(1, key, arena, 64);
  ASSERT_EQ(daemon.free(0, key, arena, refs_of(*blocks))->done, 30u);
  const auto trimmed = trim("a");
  ASSERT_TRUE(trimmed.ok()) << trimmed.error().message;
  EXPECT_GE(trimmed->committed_bytes_before, 30 * kMiB);
  EXPECT_LE(trimmed->committed_bytes, 3 * 2 * kMiB) << "one held, one ahead, one on its way";
  EXPECT_EQ(daemon.describe(0, key, arena, refs_of(*kept))->at(0).holder.session(), key.id);
  expect_exact(daemon, 1);
  EXPECT_TRUE(trim("").ok()) << "nothing is left to do";
}

TEST_F(UpkeepTest, TrimEndsWithoutPeersThatDoNotAnswer) {
  PeerClient peer(daemon, "a", "peer");
  ASSERT_TRUE(daemon.keep(peer.key, 5).ok());
  peer.lease(64, 20);
  const auto trimmed = trim("a");
  ASSERT_TRUE(trimmed.ok());
  EXPECT_TRUE(daemon.allocate(0, key, arena, 64).ok());
}

TEST_F(UpkeepTest, BothAreForAdministrators) {
  EXPECT_EQ(trim("a", user()).error().error, Error::kNotPermitted);
  EXPECT_EQ(trim("b").error().error, Error::kUnknownArena);
  EXPECT_EQ(limit(key.id, 1, user()).error().error, Error::kNotPermitted);
  EXPECT_EQ(limit({999}, 1).error().error, Error::kUnknownSession);
  EXPECT_EQ(daemon.sessions()[0].limit_bytes, 0u);
}

TEST_F(UpkeepTest, SessionAboveItsNewLimitKeepsWhatItHasAndGetsNothing) {
  const auto blocks = daemon.allocate(0, key, arena, 4096, 100);
  ASSERT_TRUE(blocks.ok());
  const auto limited = limit(key.id, 50 * 4096);
  ASSERT_TRUE(limited.ok());
  EXPECT_EQ(limited->limit_bytes, 50u * 4096);
  EXPECT_EQ(limited->charged_bytes, 100u * 4096) << "what it held before it had a limit, too";
  EXPECT_EQ(daemon.allocate(1, key, arena, 4096).error().error, Error::kQuotaSession);
  auto refs = refs_of(*blocks);
  ASSERT_EQ(daemon.free(0, key, arena, {refs.begin(), refs.begin() + 51})->done, 51u);
  EXPECT_TRUE(daemon.allocate(1, key, arena, 4096).ok());
  EXPECT_EQ(daemon.allocate(1, key, arena, 4096).error().error, Error::kQuotaSession);
  EXPECT_EQ(limit(key.id, 51 * 4096)->charged_bytes, 50u * 4096);
  EXPECT_TRUE(daemon.allocate(0, key, arena, 4096).ok());
  EXPECT_EQ(limit(key.id, 0)->limit_bytes, 0u);
  EXPECT_TRUE(daemon.allocate(0, key, arena, 4096, 500).ok());
  EXPECT_EQ(daemon.sessions()[0].limit_bytes, 0u);
}

TEST_F(UpkeepTest, LeasesOfAPeerCountWhenItGetsALimit) {
  PeerClient peer(daemon, "a", "peer");
  peer.lease(64, 4);
  const auto limited = limit(peer.key.id, 5 * kUnit);
  ASSERT_TRUE(limited.ok());
  EXPECT_EQ(limited->charged_bytes, 4 * kUnit);
  EXPECT_EQ(daemon.lease(0, peer.lease_args(64, 9))->slabs.size(), 1u);
}

}  // namespace
}  // namespace arenad::server
