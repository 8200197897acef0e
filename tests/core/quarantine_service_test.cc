// A quarantined arena: which call answers what. Nothing is allocated or leased from it, and
// everything that was given out may be given back.
#include "tests/core/peer_client.h"
#include "tests/core/served.h"

namespace arenad::server {
namespace {

constexpr std::uint32_t kHeld = 40, kOfPeer = 10;

class Quarantined : public ::testing::Test {
 protected:
  void SetUp() override {
    arena = daemon.create("a", 16 * kMiB)->id;
    ASSERT_TRUE(daemon.create("b", 16 * kMiB).ok());
    holder = daemon.open_attached("a", "holder");
    other = daemon.open_attached("a", "other");
    refs = refs_of(*daemon.allocate(0, holder, arena, 256, kHeld));
    peer = std::make_unique<PeerClient>(daemon, "a");
    slabs = peer->lease(256, 2);
    spare = peer->lease(4096, 1);
    of_peer = peer->allocate(256, kOfPeer);
    ASSERT_TRUE(daemon.audit("a")->exact);
    ASSERT_FALSE(daemon.arena("a")->quarantined);
    // The header of a slab in which nothing is allocated yet.
    ASSERT_EQ(peer->process.command("peer scribble " + std::to_string(slabs[1].value)),
              "scribbled");
    ASSERT_FALSE(daemon.audit("a")->exact);
  }
  std::uint64_t held_blocks() { return daemon.arena("a")->held_blocks; }
  void expect_states(BlockFacts::State state, const std::vector<std::uint64_t>& of) {
    const auto described = daemon.describe(1, other, arena, of);
    ASSERT_TRUE(described.ok()) << described.error().message;
    for (const auto& block : *described) EXPECT_EQ(block.state, state);
  }

  Daemon daemon;
  ArenaId arena;
  SessionKey holder, other;
  std::unique_ptr<PeerClient> peer;
  std::vector<SlabIndex> slabs, spare;
  std::vector<std::uint64_t> refs, of_peer;
};

TEST_F(Quarantined, AuditSaysWhyAndTheFirstReasonStays) {
  const std::string reason = daemon.arena("a")->quarantine_reason;
  EXPECT_EQ(reason.rfind("an audit found: ", 0), 0u) << reason;
  const auto again = daemon.audit("a");
  EXPECT_FALSE(again->exact);
  EXPECT_TRUE(std::any_of(
      again->arenas[0].report.findings.begin(), again->arenas[0].report.findings.end(),
      [&](const std::string& finding) { return finding == "arena: quarantined: " + reason; }));
  EXPECT_EQ(daemon.arena("a")->quarantine_reason, reason);
}

TEST_F(Quarantined, AllocationIsRefusedWithTheReasonOnEveryShard) {
  expect_refuses_to_allocate(daemon, "a", holder);
  AllocateArgs several;
  several.session = holder;
  several.arena_id = arena;
  several.sizes = {64, 4096};
  EXPECT_EQ(answer_of(daemon.allocate_later(0, several)).error().error, Error::kQuarantined);
  EXPECT_EQ(held_blocks(), kHeld + kOfPeer) << "a refused call has left something behind";
}

TEST_F(Quarantined, LeaseIsRefusedAndLeasedSlabsMayBeGivenBack) {
  for (const std::uint32_t shard : {0u, 1u}) {
    const auto refused = daemon.lease(shard, peer->lease_args(64, 1));
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().error, Error::kQuarantined) << refused.error().message;
  }
  const auto returned = daemon.give_back(1, peer->key, arena, spare);
  ASSERT_TRUE(returned.ok()) << returned.error().message;
  EXPECT_EQ(returned->returned, 1u);
  EXPECT_TRUE(returned->refused.empty());
}

TEST_F(Quarantined, BlockIsFreedOnceThroughAnyShard) {
  const std::vector<std::uint64_t> near(refs.begin(), refs.begin() + 15);
  const std::vector<std::uint64_t> far(refs.begin() + 15, refs.end());
  EXPECT_EQ(daemon.free(0, holder, arena, near)->done, near.size());
  EXPECT_EQ(daemon.free(1, holder, arena, far)->done, far.size());
  const auto again = daemon.free(0, holder, arena, refs);
  EXPECT_EQ(again->done, 0u);
  ASSERT_EQ(again->errors.size(), refs.size());
  // A block on its way home says that it was freed, a block at home that it has a new generation.
  for (const RefFailure& failure : again->errors)
    EXPECT_TRUE(failure.error == Error::kDoubleFree || failure.error == Error::kStaleRef);
  EXPECT_EQ(peer->on("free", of_peer), "done=" + std::to_string(kOfPeer));
  EXPECT_EQ(held_blocks(), 0u);
  expect_refuses_to_allocate(daemon, "a", holder);
}

TEST_F(Quarantined, BlockIsTakenOverAndSharedAsEver) {
  EXPECT_EQ(daemon.acquire(1, other, arena, refs)->done, kHeld);
  EXPECT_EQ(daemon.acquire(0, other, arena, of_peer)->done, kOfPeer);
  EXPECT_EQ(daemon.close(holder)->blocks, 0u) << "all of it was taken over";
  expect_states(BlockFacts::State::kHeld, refs);
  EXPECT_EQ(daemon.share(0, other, arena, refs)->done, kHeld);
  expect_states(BlockFacts::State::kShared, refs);
  EXPECT_EQ(daemon.release(1, other, arena, refs)->done, kHeld);
  EXPECT_EQ(daemon.free(0, other, arena, of_peer)->done, kOfPeer);
  EXPECT_EQ(held_blocks(), 0u);
}

TEST_F(Quarantined, SessionsEndAndGiveEverythingBack) {
  EXPECT_EQ(daemon.close(holder)->blocks, kHeld);
  EXPECT_EQ(held_blocks(), kOfPeer);
  peer->process.kill();
  EXPECT_TRUE(eventually([&] { return daemon.sessions().size() == 1; }));  // `other`
  EXPECT_EQ(held_blocks(), 0u);
  expect_refuses_to_allocate(daemon, "a", other);
}

TEST_F(Quarantined, OtherArenaServesExactly) {
  expect_serves_exactly(daemon, "b");
  EXPECT_TRUE(daemon.audit("b")->exact);
}

TEST_F(Quarantined, ArenaThatReplacesItServesExactly) {
  EXPECT_EQ(daemon.remove("a").error().error, Error::kArenaBusy);
  ASSERT_TRUE(daemon.remove("a", true).ok());
  ASSERT_TRUE(daemon.create("a", 16 * kMiB).ok());
  expect_serves_exactly(daemon, "a");
  EXPECT_TRUE(daemon.audit()->exact);
}

}  // namespace
}  // namespace arenad::server
