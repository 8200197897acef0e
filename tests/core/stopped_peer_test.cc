// A peer that is stopped (SIGSTOP) in the middle of its work. Nobody waits for it: all that the
// others do is done before it goes on. What it frees after that arrives.
//
// ARENAD_STOPPED_TURNS says how much the others do meanwhile (200 turns by default; the long run
// takes 5,000).
#include <signal.h>
#include <sys/wait.h>

#include <atomic>

#include "tests/core/peer_client.h"

namespace arenad::server {
namespace {

std::uint64_t wanted_turns() {
  const char* given = std::getenv("ARENAD_STOPPED_TURNS");
  return given != nullptr ? std::strtoull(given, nullptr, 0) : 200;
}

void stop(const PeerClient& peer) {
  ASSERT_EQ(::kill(peer.process.pid(), SIGSTOP), 0);
  siginfo_t info{};  // until it has stopped
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(peer.process.pid()), &info, WSTOPPED), 0);
}

class StoppedPeer : public ::testing::Test {
 protected:
  void SetUp() override { arena = daemon.create("a", 16 * kMiB)->id; }
  Daemon daemon;
  ArenaId arena;
};

TEST_F(StoppedPeer, HoldsNobodyUpAndItsRemoteFreesArriveWhenItGoesOn) {
  const SessionKey remote = daemon.open_attached("a", "remote");
  PeerClient other(daemon, "a", "other"), sleeper(daemon, "a", "sleeper");
  other.lease(256, 16);
  sleeper.lease(256, 16);
  // It has a KeepAlive stream, so it is asked to trim. It does not answer.
  std::atomic<int> asked{0};
  ASSERT_TRUE(daemon
                  .keep(sleeper.key, 7,
                        [&](const SessionEvent& event) {
                          asked += event.kind == SessionEvent::Kind::kTrim;
                        })
                  .ok());
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

  // Its blocks are freed remotely, by a peer and by a shard, while it is stopped.
  EXPECT_EQ(other.on("free", {of_sleeper.begin(), of_sleeper.begin() + 32}), "done=32");
  EXPECT_EQ(daemon.free(1, sleeper.key, arena, {of_sleeper.begin() + 32, of_sleeper.end()})->done,
            32u);
  std::uint64_t rounds = 0;
  for (std::uint64_t turn = 0; turn < wanted_turns() && !HasFailure(); ++turn) {
    EXPECT_EQ(other.on("free", other.allocate(256, 60)), "done=60");
    const auto shard = static_cast<std::uint32_t>(turn % 2);
    const auto got = daemon.allocate(shard, remote, arena, 700, 40);
    ASSERT_TRUE(got.ok()) << got.error().message;
    EXPECT_EQ(daemon.free(1 - shard, remote, arena, refs_of(*got))->done, 40u);
    EXPECT_TRUE(daemon.audit("a")->exact);
    if (turn % 50 != 1) continue;
    ++rounds;
    // More than there is: the first trim round asks the sleeper, loses patience and goes on.
    EXPECT_EQ(daemon.allocate(0, remote, arena, 15 * kMiB).error().error, Error::kArenaFull);
    EXPECT_EQ(asked, 1) << "a peer that did not answer is not asked again";
  }
  EXPECT_GT(rounds, 1u);

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
  EXPECT_TRUE(daemon.allocate(0, remote, arena, 15 * kMiB).ok());
}

}  // namespace
}  // namespace arenad::server
