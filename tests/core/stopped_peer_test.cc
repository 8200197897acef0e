// A peer that is stopped (SIGSTOP) in the middle of its work: nobody waits for it, and what it
// frees after it went on arrives.
//
// ARENAD_STOPPED_SECONDS says for how long (CI: 2; the long run: 10).
#include <signal.h>
#include <sys/wait.h>

#include "tests/core/peer_client.h"

namespace arenad::server {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kLongestMs =
    1000;  // of any call of the others; all but the memory rounds take far less

std::uint64_t stopped_ns() {
  const char* given = std::getenv("ARENAD_STOPPED_SECONDS");
  return (given != nullptr ? std::strtoull(given, nullptr, 0) : 2) * 1000 * kNsPerMs;
}

EngineOptions patient() {
  EngineOptions options;
  options.tunables = {{"keepalive_grace_ms", "600000"}};
  return options;
}

void stop(const PeerClient& peer) {
  ASSERT_EQ(::kill(peer.process.pid(), SIGSTOP), 0);
  siginfo_t info{};  // until it has stopped
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(peer.process.pid()), &info, WSTOPPED), 0);
}

class StoppedPeer : public ::testing::Test {
 protected:
  void SetUp() override { arena = daemon.create("a", 16 * kMiB)->id; }
  void within(std::uint64_t most_ms, const char* what, const std::function<void()>& f) {
    const std::uint64_t before = now_ns();
    f();
    longest_ms = std::max(longest_ms, (now_ns() - before) / kNsPerMs);
    EXPECT_LT((now_ns() - before) / kNsPerMs, most_ms) << what;
  }
  Daemon daemon{2, patient()};
  std::uint32_t arena = 0;
  std::uint64_t longest_ms = 0;
};

TEST_F(StoppedPeer, HoldsNobodyUpAndItsRemoteFreesArriveWhenItGoesOn) {
  const SessionKey remote = daemon.open_attached("a", "remote");
  PeerClient other(daemon, "a", "other"), sleeper(daemon, "a", "sleeper");
  other.lease(256, 16);
  sleeper.lease(256, 16);
  // A daemon with a KeepAlive stream to it asks it to trim; it does not answer.
  ASSERT_TRUE(daemon.keep(sleeper.key, 7).ok());
  const auto of_sleeper = sleeper.allocate(256, 64);
  const auto of_other = other.allocate(256, 64);
  const auto of_shard = refs_of(*daemon.allocate(0, remote, arena, 256, 64));
  // Half of its remote frees it has not published when it stops; the other half it is told to make
  // while it is stopped.
  const std::vector<std::uint64_t> half_other(of_other.begin(), of_other.begin() + 32),
      rest_other(of_other.begin() + 32, of_other.end());
  const std::vector<std::uint64_t> half_shard(of_shard.begin(), of_shard.begin() + 32),
      rest_shard(of_shard.begin() + 32, of_shard.end());
  EXPECT_EQ(sleeper.on("unpublished", half_other), "done=32");
  EXPECT_EQ(sleeper.on("unpublished", half_shard), "done=32");
  stop(sleeper);
  std::string frees = "peer free";
  for (const auto& refs : {rest_other, rest_shard})
    for (const std::uint64_t ref : refs) frees += " " + std::to_string(ref);
  sleeper.process.send(frees);

  const std::uint64_t until = now_ns() + stopped_ns();
  std::uint64_t turns = 0, rounds = 0;
  // Its blocks are freed remotely, by a peer and by a shard, while it is stopped.
  within(kLongestMs, "a peer's free of its blocks", [&] {
    EXPECT_EQ(other.on("free", {of_sleeper.begin(), of_sleeper.begin() + 32}), "done=32");
  });
  within(kLongestMs, "a shard's free of its blocks", [&] {
    EXPECT_EQ(daemon.free(1, sleeper.key, arena, {of_sleeper.begin() + 32, of_sleeper.end()})->done,
              32u);
  });
  while (now_ns() < until && !HasFailure()) {
    ++turns;
    within(kLongestMs, "a peer's allocations", [&] {
      const auto refs = other.allocate(256, 60);
      EXPECT_EQ(other.on("free", refs), "done=60");
    });
    within(kLongestMs, "a shard's allocations", [&] {
      const auto got = daemon.allocate(turns & 1, remote, arena, 700, 40);
      ASSERT_TRUE(got.ok()) << got.error().message;
      EXPECT_EQ(daemon.free(1 - (turns & 1), remote, arena, refs_of(*got))->done, 40u);
    });
    within(kLongestMs, "an audit", [&] { EXPECT_TRUE(daemon.audit("a")->exact); });
    if (turns % 50 != 1) continue;
    ++rounds;
    // More than there is: the memory round asks the sleeper and goes on without it.
    within(kLongestMs, "a memory round", [&] {
      EXPECT_EQ(daemon.allocate(0, remote, arena, 15 * kMiB).error().error, Error::kArenaFull);
    });
  }
  EXPECT_GT(turns, 5u);
  std::printf("turns of the others=%llu, memory rounds=%llu, longest call=%llu ms\n",
              static_cast<unsigned long long>(turns), static_cast<unsigned long long>(rounds),
              static_cast<unsigned long long>(longest_ms));

  ASSERT_EQ(::kill(sleeper.process.pid(), SIGCONT), 0);
  EXPECT_EQ(sleeper.process.receive(), "done=64");
  // Everything that it freed comes home, and what was freed of its own it finds.
  EXPECT_EQ(fields_of(sleeper.process.command("peer drain"))["blocks"], "64");
  other.process.command("peer drain");
  EXPECT_TRUE(eventually([&] {
    const VerifyReport r = daemon.audit("a")->arenas[0].report;
    return r.held == 0 && r.returning == 0;
  }));
  expect_exact(daemon, 0);
  EXPECT_EQ(other.trim()->returned, 16u);
  EXPECT_EQ(sleeper.trim()->returned, 16u);
  within(kLongestMs, "all of the memory",
         [&] { EXPECT_TRUE(daemon.allocate(0, remote, arena, 15 * kMiB).ok()); });
}

}  // namespace
}  // namespace arenad::server
