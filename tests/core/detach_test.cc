// DetachArena, against a whole engine: what the session had in the arena comes back, and nothing of
// its past reaches its next attachment. detaches_test.cc stops a detach in the middle.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/core/daemon.h"
#include "tests/core/peer_client.h"
#include "tests/support/sizes.h"
#include "tests/support/text.h"
#include "tests/support/workers.h"

namespace arenad::server {
namespace {

// Against a whole engine.
class DetachTest : public testing::Test {
 protected:
  void SetUp() override { arena = daemon.create("pool", 16 * kMiB)->id; }
  LeaseArgs lease_args(SessionKey key, HeapId heap, std::uint64_t epoch,
                       std::uint32_t count = 1) const {
    LeaseArgs args;
    args.session = key;
    args.arena_id = arena;
    args.epoch = {epoch};
    args.heap_id = heap;
    args.size_class = Geometry().class_of(64);
    args.count = count;
    return args;
  }
  Daemon daemon;
  ArenaId arena;
};

TEST_F(DetachTest, LeavesTheArenaAndOnlyThisArena) {
  const ArenaId other = daemon.create("other", 4 * kMiB)->id;
  const SessionKey key = daemon.open_attached("pool", "cam");
  ASSERT_TRUE(daemon.attach(key, "other").ok());
  const auto refs = refs_of(*daemon.allocate(0, key, arena, 64, 10));
  ASSERT_EQ(daemon.free(1, key, arena, refs)->done, 10u);
  const auto given = daemon.detach(key, arena);
  ASSERT_TRUE(given.ok()) << given.error().message;
  EXPECT_EQ(given->blocks, 0u);
  EXPECT_EQ(daemon.arena("pool")->sessions, 0u);
  EXPECT_EQ(daemon.sessions()[0].attachments.size(), 1u);
  for (const std::uint32_t shard : {0u, 1u}) {
    const auto refused = daemon.allocate(shard, key, arena, 64);
    EXPECT_EQ(refused.error().error, Error::kNotAttached);
    EXPECT_TRUE(has(refused.error().message, "'pool'")) << refused.error().message;
    EXPECT_TRUE(daemon.allocate(shard, key, other, 64).ok());
  }
  EXPECT_EQ(daemon.detach(key, arena).error().error, Error::kNotAttached);
  EXPECT_TRUE(daemon.remove("pool").ok()) << "nobody is attached any more";
  EXPECT_EQ(daemon.detach(key, arena).error().error, Error::kUnknownArena);
  expect_exact(daemon, 2);
}

TEST_F(DetachTest, SessionThatHoldsBlocksStaysAttached) {
  for (const AttachMode mode : {AttachMode::kRemote, AttachMode::kWriter, AttachMode::kPeer}) {
    SCOPED_TRACE(mode_name(mode));
    const SessionKey key = daemon.open_attached("pool", "cam", mode);
    const auto refs = refs_of(*daemon.allocate(0, key, arena, 4096, 3));
    const auto refused = daemon.detach(key, arena);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().error, Error::kBlocksHeld);
    for (const char* part : {"'cam'", "3 blocks of 12 KiB", "'pool'", "give_up_blocks"})
      EXPECT_TRUE(has(refused.error().message, part)) << refused.error().message;
    const auto more = daemon.allocate(1, key, arena, 64);
    ASSERT_TRUE(more.ok()) << more.error().message;
    ASSERT_EQ(daemon.free(1, key, arena, refs_of(*more))->done, 1u);
    ASSERT_EQ(daemon.free(1, key, arena, refs)->done, 3u);
    EXPECT_TRUE(daemon.detach(key, arena).ok());
    ASSERT_TRUE(daemon.close(key).ok());
  }
  expect_exact(daemon, 0);
}

TEST_F(DetachTest, SharerHoldsABlockToo) {
  const SessionKey giver = daemon.open_attached("pool"), sharer = daemon.open_attached("pool");
  const auto refs = refs_of(*daemon.allocate(0, giver, arena, 64, 1));
  ASSERT_EQ(daemon.share(0, giver, arena, refs)->done, 1u);
  ASSERT_EQ(daemon.share(1, sharer, arena, refs)->done, 1u);
  EXPECT_EQ(daemon.detach(sharer, arena).error().error, Error::kBlocksHeld);
  ASSERT_EQ(daemon.release(1, sharer, arena, refs)->done, 1u);
  EXPECT_TRUE(daemon.detach(sharer, arena).ok());
  EXPECT_EQ(daemon.detach(giver, arena).error().error, Error::kBlocksHeld);
  EXPECT_EQ(daemon.detach(giver, arena, {}, true)->blocks, 1u);
  expect_exact(daemon, 0);
}

TEST_F(DetachTest, BlocksAreGivenUpWhenTheSessionSaysSo) {
  const SessionKey key = daemon.open_attached("pool"), heir = daemon.open_attached("pool", "heir");
  auto refs = refs_of(*daemon.allocate(0, key, arena, 4096, 10));
  ASSERT_EQ(daemon.acquire(1, heir, arena, {refs.begin(), refs.begin() + 4})->done, 4u);
  const auto given = daemon.detach(key, arena, {}, true);
  ASSERT_TRUE(given.ok()) << given.error().message;
  EXPECT_EQ(given->blocks, 6u);
  EXPECT_EQ(given->bytes, 6u * 4096);
  EXPECT_EQ(daemon.arena("pool")->held_blocks, 4u);
  expect_exact(daemon, 4);
}

TEST_F(DetachTest, PeersLeasesAndHeapIdsComeBack) {
  PeerClient peer(daemon, "pool"), other(daemon, "pool", "other");
  peer.lease(512, 8);
  const auto refs = peer.allocate(512, 40);
  EXPECT_EQ(other.on("acquire", {refs.begin(), refs.begin() + 10}), "done=10");
  EXPECT_EQ(daemon.detach(peer.key, arena).error().error, Error::kBlocksHeld);
  const auto given = daemon.detach(peer.key, arena, {}, true);
  ASSERT_TRUE(given.ok()) << given.error().message;
  EXPECT_EQ(given->blocks, 30u);
  EXPECT_EQ(daemon.stats("pool")->leased_slabs, 0u);
  expect_exact(daemon, 10);
  // The heap id of `other` is the second one, so the first one is free.
  const SessionKey third = daemon.open_attached("pool", "third", AttachMode::kPeer);
  EXPECT_EQ(*daemon.open_heap(0, third, arena), HeapId{256});
  EXPECT_EQ(other.on("free", {refs.begin(), refs.begin() + 10}), "done=10");
  EXPECT_TRUE(eventually([&] { return daemon.arena("pool")->held_blocks == 0; }));
}

// What gRPC delivers after the detach, although it was sent before.
TEST_F(DetachTest, CallsFromBeforeItAreNotOfTheNextAttachment) {
  const SessionKey key = daemon.open_attached("pool", "peer", AttachMode::kPeer);
  ASSERT_TRUE(daemon.detach(key, arena).ok());
  auto again = daemon.attach(key, "pool", AttachMode::kPeer);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->epoch.value, 1u);
  EXPECT_EQ(daemon.open_heap(0, key, arena, {0}).error().error, Error::kStaleEpoch);
  const auto heap = daemon.open_heap(0, key, arena, {1});
  ASSERT_TRUE(heap.ok()) << heap.error().message;
  const auto leased = daemon.lease(0, lease_args(key, *heap, 1, 4));
  ASSERT_TRUE(leased.ok()) << leased.error().message;
  EXPECT_EQ(daemon.lease(0, lease_args(key, *heap, 0)).error().error, Error::kStaleEpoch);
  EXPECT_EQ(daemon.give_back(0, key, arena, leased->slabs, {0}).error().error, Error::kStaleEpoch);
  EXPECT_EQ(daemon.resume(0, {key, arena, {1}}, {}).error().error, Error::kStaleEpoch)
      << "the first resume of the attachment before";
  EXPECT_EQ(daemon.detach(key, arena, {0}, true).error().error, Error::kStaleEpoch)
      << "the detach itself, which was made twice";
  EXPECT_EQ(daemon.stats("pool")->leased_slabs, leased->slabs.size());

  ASSERT_TRUE(daemon.resume(0, {key, arena, {7}}, {}).ok());
  ASSERT_TRUE(daemon.detach(key, arena, {7}).ok());
  again = daemon.attach(key, "pool", AttachMode::kPeer);
  EXPECT_EQ(again->epoch.value, 8u);
  // Another session may have the same id later. Nothing of its past can reach it.
  ASSERT_TRUE(daemon.close(key).ok());
  EXPECT_EQ(daemon.attach(daemon.open_kept(), "pool", AttachMode::kPeer)->epoch.value, 0u);
}

TEST_F(DetachTest, CallsThatWaitForMemoryAreAnswered) {
  const SessionKey holder = daemon.open_attached("pool"), key = daemon.open_attached("pool");
  ASSERT_TRUE(daemon.allocate(0, holder, arena, 16 * kMiB).ok());
  AllocateArgs args;
  args.session = key;
  args.arena_id = arena;
  args.size_bytes = 64;
  args.wait_ms = 600'000;
  auto waiting = daemon.allocate_later(1, args);
  ASSERT_TRUE(daemon.detach(key, arena).ok());
  EXPECT_EQ(answer_of(std::move(waiting)).error().error, Error::kNotAttached);
}

TEST_F(DetachTest, ChargesWhatIsLeft) {
  const ArenaId other = daemon.create("other", 16 * kMiB)->id;
  const SessionKey key = daemon.open_attached("pool", "small", AttachMode::kRemote, 2 * kMiB);
  ASSERT_TRUE(daemon.attach(key, "other").ok());
  ASSERT_TRUE(daemon.allocate(0, key, arena, kMiB).ok());
  ASSERT_TRUE(daemon.allocate(0, key, other, kMiB).ok());
  EXPECT_EQ(daemon.allocate(0, key, other, 64).error().error, Error::kQuotaSession);
  ASSERT_TRUE(daemon.detach(key, arena, {}, true).ok());
  EXPECT_TRUE(daemon.allocate(0, key, other, kMiB).ok());
  EXPECT_EQ(daemon.allocate(0, key, other, 64).error().error, Error::kQuotaSession);
}

TEST_F(DetachTest, UnknownSessionsAndSecretsAreRefused) {
  SessionKey key = daemon.open_attached("pool");
  key.secret ^= 1;
  EXPECT_EQ(daemon.detach(key, arena).error().error, Error::kUnknownSession);
}

// Sessions attach, work on both shards and detach while another thread allocates and frees for
// them, and while audits run.
TEST_F(DetachTest, EveryAuditIsExactWhileSessionsComeAndGo) {
  const SessionKey key = daemon.open_kept("restless");
  test::Workers workers;
  std::atomic<std::uint64_t> refused{0}, served{0};
  workers.start([&] {
    for (std::uint32_t i = 0; workers.go_on(); ++i) {
      const auto got = daemon.allocate(i % 2, key, arena, 64u << (i % 6), 5);
      if (got.ok()) {
        ++served;
        // Some of them stay, and are given up.
        const auto refs = refs_of(*got);
        (void)daemon.free((i + 1) % 2, key, arena, {refs.begin() + 1, refs.end()});
      } else {
        ++refused;
        ASSERT_EQ(got.error().error, Error::kNotAttached) << got.error().message;
      }
    }
  });
  workers.start([&] {
    while (workers.go_on()) {
      const auto audit = daemon.audit("pool");
      ASSERT_TRUE(audit.ok()) << audit.error().message;
      ASSERT_TRUE(audit->exact) << (audit->arenas[0].report.findings.empty()
                                        ? ""
                                        : audit->arenas[0].report.findings[0]);
    }
  });
  for (int i = 0; i < 60 || served == 0 || refused == 0; ++i) {
    const auto attached = daemon.attach(key, "pool");
    ASSERT_TRUE(attached.ok()) << attached.error().message;
    const auto given = daemon.detach(key, arena, attached->epoch, i % 3 != 0);
    if (given.ok()) continue;
    ASSERT_EQ(given.error().error, Error::kBlocksHeld) << given.error().message;
    ASSERT_TRUE(daemon.detach(key, arena, attached->epoch, true).ok());
  }
  workers.stop();
  workers.join();
  EXPECT_EQ(daemon.arena("pool")->held_blocks, 0u);
  expect_exact(daemon, 0);
}

}  // namespace
}  // namespace arenad::server
