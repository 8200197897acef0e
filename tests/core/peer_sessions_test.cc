// Peers against the engine: attach, lease, return, and what becomes of their slabs when they die.
#include <atomic>
#include <thread>

#include "tests/core/peer_client.h"
#include "tests/support/workers.h"

namespace arenad::server {
namespace {

class PeerSessions : public ::testing::Test {
 protected:
  void SetUp() override { arena = daemon.create("a", 64 * kMiB)->id; }
  // An exact audit in which nothing is held and nothing is leased.
  bool all_home() {
    const auto audit = daemon.audit("a");
    EXPECT_TRUE(audit.ok() && audit->exact)
        << (audit->arenas[0].report.findings.empty() ? "" : audit->arenas[0].report.findings[0]);
    const VerifyReport& r = audit->arenas[0].report;
    return r.held + r.shared == 0 && r.leased_slabs == 0;
  }
  Daemon daemon;
  ArenaId arena;
};

TEST_F(PeerSessions, PeerGetsBothFilesAndAHeapOfItsOwn) {
  const SessionKey key = daemon.open_kept();
  ClientProcess process(daemon.engine().handoff_path());
  auto reply =
      fields_of(process.hand_off(daemon.attach(key, "a", AttachMode::kPeer)->handoff_token));
  EXPECT_EQ(reply["status"], "0");
  EXPECT_EQ(reply["fds"], "2");
  EXPECT_EQ(reply["mode"], "4");
  EXPECT_EQ(reply["bytes"], std::to_string(64 * kMiB));
  EXPECT_EQ(reply["control"], std::to_string(ControlView::file_bytes(64 * kMiB, 2048)));
  const auto first = daemon.open_heap(0, key, arena), second = daemon.open_heap(1, key, arena);
  EXPECT_EQ(*first, HeapId{256});
  EXPECT_EQ(*second, HeapId{257});
}

TEST_F(PeerSessions, AllocatesOnLeasedSlabsAndReturnsThem) {
  PeerClient peer(daemon, "a");
  const auto slabs = peer.lease(256, 10);
  ASSERT_EQ(slabs.size(), 10u);
  const auto refs = peer.allocate(256, 1000);
  const auto info = daemon.describe(1, peer.key, arena, {refs[0]});
  EXPECT_EQ((*info)[0].state, BlockFacts::State::kHeld);
  EXPECT_EQ((*info)[0].holder.session(), peer.key.id);
  EXPECT_EQ((*info)[0].heap, peer.heap);
  expect_exact(daemon, 1000);
  // What is out stays out, the rest comes back.
  const auto back = peer.trim();
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->returned, 6u);  // 1000 of 256 a slab: four slabs are in use
  EXPECT_TRUE(back->refused.empty());
  expect_exact(daemon, 1000);
}

TEST_F(PeerSessions, DeadPeersBlocksAndLeasesComeBack) {
  auto peer = std::make_unique<PeerClient>(daemon, "a");
  peer->lease(64, 20);
  peer->lease(4096, 20, 1);
  peer->allocate(64, 5000);
  peer->allocate(4096, 100);
  expect_exact(daemon, 5100);
  peer->process.kill();
  EXPECT_TRUE(eventually([&] { return all_home(); }));
  EXPECT_TRUE(eventually([&] { return daemon.sessions().empty(); }));
  EXPECT_EQ(daemon.stats()->sessions_reaped, 1u);
}

TEST_F(PeerSessions, ClosingSaysWhatIsGivenBack) {
  PeerClient peer(daemon, "a");
  peer.lease(1024, 2);
  peer.allocate(1024, 100);
  const auto given = daemon.close(peer.key);
  ASSERT_TRUE(given.ok());
  EXPECT_EQ(given->blocks, 100u);
  EXPECT_EQ(given->bytes, 100u * 1024);
  EXPECT_TRUE(all_home());
}

TEST_F(PeerSessions, WhatOthersHoldOfADeadPeersSlabsStaysTheirs) {
  auto peer = std::make_unique<PeerClient>(daemon, "a", "maker");
  PeerClient heir(daemon, "a", "heir");
  const SessionKey remote = daemon.open_attached("a", "remote");
  peer->lease(512, 4);
  const auto refs = peer->allocate(512, 30);
  const std::vector<std::uint64_t> to_heir(refs.begin(), refs.begin() + 10),
      to_remote(refs.begin() + 10, refs.begin() + 20);
  EXPECT_EQ(heir.on("acquire", to_heir), "done=10");
  EXPECT_EQ(daemon.acquire(1, remote, arena, to_remote)->done, 10u);
  peer->process.kill();
  EXPECT_TRUE(eventually([&] { return daemon.sessions().size() == 2; }));
  expect_exact(daemon, 20);
  EXPECT_EQ(heir.on("free", to_heir), "done=10");
  EXPECT_EQ(daemon.free(0, remote, arena, to_remote)->done, 10u);
  EXPECT_TRUE(eventually([&] { return all_home(); }));
}

// Blocks of a dead peer in slabs that are not its own: those of shards and of other peers.
TEST_F(PeerSessions, WhatADeadPeerHeldInOthersSlabsComesBack) {
  PeerClient other(daemon, "a", "other");
  auto peer = std::make_unique<PeerClient>(daemon, "a", "dying");
  const SessionKey remote = daemon.open_attached("a", "remote");
  other.lease(128, 2);
  const auto theirs = other.allocate(128, 40);
  const auto servers = refs_of(*daemon.allocate(0, remote, arena, 128, 40));
  EXPECT_EQ(peer->on("acquire", {theirs.begin(), theirs.begin() + 20}), "done=20");
  EXPECT_EQ(peer->on("acquire", {servers.begin(), servers.begin() + 20}), "done=20");
  // Through the daemon, too: then a shard knows.
  EXPECT_EQ(daemon.acquire(1, peer->key, arena, {theirs.begin() + 20, theirs.begin() + 25})->done,
            5u);
  ASSERT_TRUE(daemon.allocate(0, peer->key, arena, 300, 7).ok());
  // And frees whose owners were never told.
  EXPECT_EQ(peer->on("unpublished", {servers.begin() + 20, servers.begin() + 30}), "done=10");
  peer->process.kill();
  EXPECT_TRUE(eventually([&] { return daemon.sessions().size() == 2; }));
  other.process.command("peer drain");
  expect_exact(daemon, 15 + 10);
}

TEST_F(PeerSessions, AccessIsAskedForAsAWritersIs) {
  CreateArenaArgs args;
  args.name = "mine";
  args.capacity_bytes = 4 * kMiB;
  args.has_access = true;
  args.access.uid = 4711;
  args.access.gid = 4711;
  args.access.mode = 0644;  // others may read
  ASSERT_TRUE(daemon.create(args).ok());
  const bool root = ::geteuid() == 0;  // who may become somebody else
  ClientProcess process(daemon.engine().handoff_path(), root ? 65534 : 0);
  auto reply = fields_of(process.hand_off(
      daemon.attach(daemon.open_kept(), "mine", AttachMode::kPeer)->handoff_token));
  EXPECT_EQ(reply["reason"], std::to_string(static_cast<int>(Error::kNotPermitted)));
  EXPECT_EQ(reply["fds"], "0");
  reply = fields_of(process.hand_off(
      daemon.attach(daemon.open_kept(), "mine", AttachMode::kReader)->handoff_token));
  EXPECT_EQ(reply["fds"], "1");
}

TEST_F(PeerSessions, WhatASessionTookOverOfALivingPeersComesBackToThePeer) {
  PeerClient peer(daemon, "a");
  const SessionKey remote = daemon.open_attached("a", "remote");
  peer.lease(512, 1);
  const auto refs = peer.allocate(512, 30);
  EXPECT_EQ(daemon.acquire(1, remote, arena, refs)->done, 30u);
  EXPECT_EQ(daemon.close(remote)->blocks, 30u);
  EXPECT_EQ(peer.process.command("peer drain"), "blocks=30");
  expect_exact(daemon, 0);
}

// The arena is deleted while its dead peer's runs are on their way to the shards: they are nobody's
// business any more.
TEST_F(PeerSessions, ArenaDeletedInTheMiddleOfAnAdoption) {
  for (int i = 0; i < 5; ++i) {
    const std::string name = "short" + std::to_string(i);
    ASSERT_TRUE(daemon.create(name, 64 * kMiB).ok());
    PeerClient peer(daemon, name);
    peer.lease(8, 900);
    peer.allocate(8, 1'000'000);
    peer.process.kill();
    ASSERT_TRUE(
        eventually([&] { return daemon.sessions().empty() || daemon.sessions()[0].reaping; }));
    ASSERT_TRUE(daemon.remove(name, true).ok());
    ASSERT_TRUE(eventually([&] { return daemon.sessions().empty(); }));
  }
  expect_exact(daemon, 0);
}

// Peers that hold each other's and the shards' blocks die one after the other while audits run.
TEST_F(PeerSessions, EveryAuditIsExactWhilePeersDie) {
  const SessionKey remote = daemon.open_attached("a", "remote");
  std::atomic<int> audits{0};
  test::Workers workers;
  workers.start([&] {
    while (workers.go_on()) {
      const auto audit = daemon.audit("a");
      ASSERT_TRUE(audit.ok()) << audit.error().message;
      ASSERT_TRUE(audit->exact) << (audit->arenas[0].report.findings.empty()
                                        ? ""
                                        : audit->arenas[0].report.findings[0]);
      ++audits;
    }
  });
  std::vector<std::unique_ptr<PeerClient>> peers(3);
  std::vector<std::uint64_t> last;
  for (std::uint32_t i = 0; i < 24; ++i) {
    auto& peer = peers[i % peers.size()];
    if (peer != nullptr) peer->process.kill_without_wait();
    peer = std::make_unique<PeerClient>(daemon, "a", "peer" + std::to_string(i));
    const std::uint64_t size = 64u << (i % 5);
    peer->lease(size, 8, i % 2);
    const auto refs = peer->allocate(size, 400);
    const auto servers = refs_of(*daemon.allocate(i % 2, remote, arena, 512, 20));
    peer->on("acquire", {servers.begin(), servers.begin() + 10});
    peer->on("unpublished", {servers.begin() + 10, servers.end()});
    peer->on("acquire", last);  // as far as their holder lives still
    peer->on("share", {refs.begin(), refs.begin() + 5});
    last.assign(refs.begin() + 5, refs.begin() + 20);
  }
  peers.clear();
  EXPECT_TRUE(eventually([&] { return daemon.sessions().size() == 1; }));
  EXPECT_TRUE(workers.wait_until([&] { return audits > 0; }));
  workers.stop();
  workers.join();
  ASSERT_TRUE(daemon.close(remote).ok());
  EXPECT_TRUE(eventually([&] { return all_home(); }));
}

TEST_F(PeerSessions, MillionBlocksComeBackAndEveryAuditMeanwhileIsExact) {
  Daemon big;
  ASSERT_TRUE(big.create("big", 1024 * kMiB).ok());
  for (const std::uint64_t blocks : {1'000'000u, 1'000u}) {
    PeerClient peer(big, "big");
    peer.lease(256, static_cast<std::uint32_t>(blocks / 256 + 1));
    peer.allocate(256, blocks);
    peer.process.kill_without_wait();
    EXPECT_TRUE(eventually([&] {
      const auto audit = big.audit("big");  // in the middle of the adoption, too
      EXPECT_TRUE(audit->exact) << (audit->arenas[0].report.findings.empty()
                                        ? ""
                                        : audit->arenas[0].report.findings[0]);
      const VerifyReport& r = audit->arenas[0].report;
      return r.held == 0 && r.leased_slabs == 0 && r.returning == 0;
    }));
  }
}

}  // namespace
}  // namespace arenad::server
