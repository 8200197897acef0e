// Sessions with a reserve, in whole engines: what they get, and what others are refused.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/core/daemon.h"
#include "tests/core/machine_files.h"
#include "tests/core/peer_client.h"
#include "tests/support/sizes.h"
#include "tests/support/text.h"

namespace arenad::server {
namespace {

class ReservedSessions : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kMost = 64 * kMiB, kReserve = 16 * kMiB;

  void SetUp() override {
    own = daemon.create("own", 128 * kMiB)->id;
    other = daemon.create("other", 128 * kMiB)->id;
    greedy = daemon.open_attached("other", "greedy");
    ASSERT_TRUE(daemon.attach(greedy, "own").ok());
  }
  static EngineOptions options() {
    EngineOptions options;
    options.limits.max_total_bytes = kMost;
    options.limits.max_user_bytes = kMost;
    options.tunables = {{"commit_ahead_superslabs", "0"}};
    return options;
  }
  SessionKey open(std::uint64_t reserve, std::uint64_t limit = 0) {
    const auto opened = daemon.open("reserved", limit, daemon_itself(), reserve);
    EXPECT_TRUE(opened.ok()) << opened.error().message;
    EXPECT_TRUE(daemon.keep(opened->key, 1).ok());
    EXPECT_TRUE(daemon.attach(opened->key, "own").ok());
    return opened->key;
  }
  // Allocates until it is refused. Answers the refs.
  std::vector<std::uint64_t> fill(std::uint64_t size) {
    std::vector<std::uint64_t> refs;
    for (;;) {
      const auto got = daemon.allocate(0, greedy, other, size);
      if (!got.ok()) {
        EXPECT_EQ(got.error().error, Error::kMachineFull) << got.error().message;
        return refs;
      }
      refs.push_back(got->blocks[0].ref.value);
    }
  }
  std::uint64_t committed() { return daemon.stats()->committed_bytes; }

  Daemon daemon{2, options()};
  ArenaId own, other;
  SessionKey greedy;
};

TEST_F(ReservedSessions, OthersAreRefusedExactlyWhereTheReserveBegins) {
  const SessionKey key = open(kReserve);
  fill(2 * kMiB);
  EXPECT_EQ(committed(), kMost - kReserve);
  const auto full = daemon.allocate(1, greedy, other, 64 * 1024);
  EXPECT_TRUE(has(full.error().message, "16 MiB are reserved for sessions"))
      << full.error().message;
  for (std::uint64_t i = 0; i < kReserve / kMiB; ++i)
    ASSERT_TRUE(daemon.allocate(i % 2, key, own, kMiB).ok()) << i;
  EXPECT_EQ(committed(), kMost);
  EXPECT_EQ(daemon.stats()->reserved_bytes, kReserve);
  EXPECT_EQ(daemon.stats()->set_aside_bytes, 0u);
  EXPECT_EQ(daemon.allocate(0, key, own, kMiB).error().error, Error::kMachineFull)
      << "beyond its reserve it is as others";
  expect_exact(daemon, 24 + 16);
}

TEST_F(ReservedSessions, ReserveIsThereInAnySizeAndInOneCall) {
  const SessionKey key = open(kReserve);
  fill(2 * kMiB);
  for (const std::uint64_t size : {kReserve, std::uint64_t{2 * kMiB}, std::uint64_t{64 * 1024},
                                   std::uint64_t{4096}, std::uint64_t{64}}) {
    const auto count = static_cast<std::uint32_t>(std::min<std::uint64_t>(kReserve / size, 16'384));
    const auto got = daemon.allocate(0, key, own, size, count);
    ASSERT_TRUE(got.ok()) << size << ": " << got.error().message;
    ASSERT_EQ(daemon.free(1, key, own, refs_of(*got))->done, count);
  }
}

TEST_F(ReservedSessions, SessionGetsItsReserveWhenOthersTookWhatItFreed) {
  const SessionKey key = open(kReserve);
  fill(2 * kMiB);
  const auto got = daemon.allocate(0, key, own, 2 * kMiB, 8);
  ASSERT_TRUE(got.ok()) << got.error().message;
  ASSERT_EQ(daemon.free(0, key, own, refs_of(*got))->done, 8u);
  EXPECT_EQ(daemon.allocate(0, greedy, other, 2 * kMiB).error().error, Error::kMachineFull);
  ASSERT_TRUE(daemon.allocate(0, greedy, own, 2 * kMiB, 8).ok()) << "committed it is";
  const auto again = daemon.allocate(1, key, own, 2 * kMiB, 8);
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(committed(), kMost + kReserve);
  EXPECT_EQ(daemon.allocate(0, greedy, own, 2 * kMiB).error().error, Error::kMachineFull);
  ASSERT_EQ(daemon.free(1, key, own, refs_of(*again))->done, 8u);
  ASSERT_TRUE(daemon.allocate(0, greedy, own, 2 * kMiB, 8).ok());
  const auto third = daemon.allocate(0, key, own, 2 * kMiB, 8);
  ASSERT_TRUE(third.ok()) << third.error().message;
  ASSERT_EQ(daemon.free(0, key, own, refs_of(*third))->done, 8u);
  ASSERT_TRUE(daemon.allocate(0, greedy, own, 2 * kMiB, 8).ok());
  EXPECT_EQ(daemon.allocate(1, key, own, 2 * kMiB, 8).error().error, Error::kMachineFull)
      << "the sum passes max_total_bytes by twice the reserve at most";
  EXPECT_EQ(committed(), kMost + 2 * kReserve);
}

TEST_F(ReservedSessions, LeasesOfAPeerDrawOnIt) {
  PeerClient peer(daemon, "own", "peer", 0, daemon_itself(), kReserve);
  fill(2 * kMiB);
  EXPECT_EQ(peer.lease(4096, 256).size(), 256u);
  peer.allocate(4096, 256 * 16);
  EXPECT_EQ(committed(), kMost);
  EXPECT_EQ(daemon.lease(0, peer.lease_args(4096, 1)).error().error, Error::kMachineFull);
}

// Memory is committed in pieces of 2 MiB, so there are 64 slabs for 48.
TEST_F(ReservedSessions, LeaseThatAReserveHasNoRoomForBringsWhatItHas) {
  PeerClient peer(daemon, "own", "peer", 0, daemon_itself(), 3 * kMiB);
  fill(2 * kMiB);
  const auto got = daemon.lease(0, peer.lease_args(4096, 100));
  ASSERT_TRUE(got.ok()) << got.error().message;
  EXPECT_EQ(got->slabs.size(), 64u);
  EXPECT_EQ(daemon.lease(0, peer.lease_args(4096, 100)).error().error, Error::kMachineFull);
}

TEST_F(ReservedSessions, ItEndsWithItsSession) {
  const SessionKey key = open(kReserve);
  fill(2 * kMiB);
  ASSERT_TRUE(daemon.close(key).ok());
  EXPECT_EQ(daemon.stats()->reserved_bytes, 0u);
  fill(2 * kMiB);
  EXPECT_EQ(committed(), kMost);
}

TEST_F(ReservedSessions, SessionsThatAPeerLeavesByDyingReserveNothing) {
  PeerClient peer(daemon, "own", "peer", 0, daemon_itself(), kReserve);
  peer.process.kill();
  EXPECT_TRUE(eventually([&] { return daemon.stats()->reserved_bytes == 0; }));
}

TEST_F(ReservedSessions, OpenSessionSaysWhatDoesNotFit) {
  open(kReserve);
  const auto large = daemon.open("large", 0, daemon_itself(), kMost);
  ASSERT_FALSE(large.ok());
  EXPECT_EQ(large.error().error, Error::kMachineFull);
  EXPECT_TRUE(has(large.error().message, "no reserve of 64 MiB for a session: max_total_bytes"))
      << large.error().message;
  const auto limited = daemon.open("limited", 4 * kMiB, daemon_itself(), 5 * kMiB);
  ASSERT_FALSE(limited.ok());
  EXPECT_EQ(limited.error().error, Error::kInvalidOption);
  EXPECT_TRUE(
      has(limited.error().message, "reserve_bytes is 5 MiB, and the session may have 4 MiB"))
      << limited.error().message;
  EXPECT_EQ(daemon.stats()->reserved_bytes, kReserve);
  EXPECT_EQ(daemon.sessions().size(), 2u) << "a refused session is none";
}

TEST_F(ReservedSessions, LimitOfTheSessionHoldsWithinIt) {
  const SessionKey key = open(kReserve, kReserve);
  ASSERT_TRUE(daemon.allocate(0, key, own, kReserve).ok());
  EXPECT_EQ(daemon.allocate(0, key, own, 64).error().error, Error::kQuotaSession);
}

TEST_F(ReservedSessions, CapacityOfTheArenaHoldsWithinIt) {
  const ArenaId small = daemon.create("small", 4 * kMiB)->id;
  const SessionKey key = open(kReserve);
  ASSERT_TRUE(daemon.attach(key, "small").ok());
  ASSERT_TRUE(daemon.allocate(0, key, small, 4 * kMiB).ok());
  EXPECT_EQ(daemon.allocate(0, key, small, kMiB).error().error, Error::kArenaFull);
}

// All that the machine leaves is reserved. What the daemon itself needs for the session's blocks,
// and for a peer's heap, comes from there.
TEST(ReserveOfAllMemory, ServesControlMemoryToo) {
  const MachineFiles machine(160 * kMiB);  // of which 10 MiB stay free
  EngineOptions options;
  options.host_root = machine.root();
  options.limits.max_total_bytes = 1024 * kMiB;
  options.tunables = {{"commit_ahead_superslabs", "0"}};
  Daemon daemon(2, options);
  const ArenaId arena = daemon.create("a", 64 * kMiB)->id;
  const SessionKey other = daemon.open_attached("a", "other");
  PeerClient peer(daemon, "a", "peer", 0, daemon_itself(), 150 * kMiB);
  EXPECT_EQ(daemon.allocate(0, other, arena, 64).error().error, Error::kMachineFull);
  for (const std::uint64_t size : {4096, 64, 1000}) {
    const auto got = daemon.allocate(1, peer.key, arena, size, 10);
    EXPECT_TRUE(got.ok()) << size << ": " << got.error().message;
  }
  EXPECT_EQ(peer.lease(4096, 3).size(), 3u);
}

TEST(ReservesOfAUser, AreTogetherAtMostWhatTheUserMayHave) {
  EngineOptions options;
  options.limits.max_total_bytes = 64 * kMiB;
  options.limits.max_user_bytes = 20 * kMiB;
  Daemon daemon(1, options);
  const auto user = [](std::uint32_t uid) {
    auto owner = std::make_shared<Principal>();
    owner->uid = uid;
    return owner;
  };
  const auto first = daemon.open("a", 0, user(1000), 12 * kMiB);
  ASSERT_TRUE(first.ok());
  const auto refused = daemon.open("b", 0, user(1000), 9 * kMiB);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().error, Error::kQuotaUser);
  EXPECT_TRUE(has(refused.error().message,
                  "the sessions of uid 1000 have reserved 12 MiB of the limit max_user_bytes, 20 "
                  "MiB; a reserve of 9 MiB would go over it"))
      << refused.error().message;
  EXPECT_TRUE(daemon.open("b", 0, user(1000), 8 * kMiB).ok());
  EXPECT_TRUE(daemon.open("c", 0, user(1001), 12 * kMiB).ok());
  EXPECT_TRUE(daemon.open("d", 0, daemon_itself(), 21 * kMiB).ok()) << "no user's";
  ASSERT_TRUE(daemon.close(first->key).ok());
  EXPECT_TRUE(daemon.open("e", 0, user(1000), 11 * kMiB).ok());
}

// A neighbour takes what it can get all the time, on both shards. No call of the session fails.
TEST_F(ReservedSessions, NoCallWithinItFailsBesideAGreedyNeighbour) {
  const SessionKey key = open(kReserve);
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> got_by_neighbour{0};
  std::jthread neighbour([&] {
    for (std::uint32_t n = 0; !stop; ++n) {
      std::vector<std::uint64_t> refs;
      for (const std::uint64_t size : {std::uint64_t{8 * kMiB}, std::uint64_t{kMiB},
                                       std::uint64_t{64 * 1024}, std::uint64_t{4096}})
        for (;;) {
          const auto got = daemon.allocate(n % 2, greedy, other, size, 4);
          if (!got.ok()) break;
          got_by_neighbour += 4 * size;
          const auto more = refs_of(*got);
          refs.insert(refs.end(), more.begin(), more.end());
          if (refs.size() > 12'000) break;
        }
      if (n % 2 != 0) (void)daemon.free(n % 2, greedy, other, refs);
    }
  });
  const std::uint64_t sizes[] = {kReserve, 2 * kMiB, 64 * 1024, 1024};
  for (std::uint32_t i = 0; i < 60; ++i) {
    const std::uint64_t size = sizes[i % 4];
    const auto count = static_cast<std::uint32_t>(std::min<std::uint64_t>(kReserve / size, 16'384));
    const auto got = daemon.allocate(i % 2, key, own, size, count);
    ASSERT_TRUE(got.ok()) << size << ": " << got.error().message;
    ASSERT_EQ(daemon.free(i % 2, key, own, refs_of(*got))->done, count);
  }
  stop = true;
  neighbour.join();
  EXPECT_GT(got_by_neighbour, 0u);
  EXPECT_LE(committed(), kMost + 2 * kReserve);
}

}  // namespace
}  // namespace arenad::server
