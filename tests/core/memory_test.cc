// Full arenas: trim of other shards, failure with particulars, waiting.
#include "tests/core/daemon.h"

namespace arenad::server {
namespace {

// Idle drains and maintenance stand still as far as they can: what comes back, comes by the rounds
// under test.
EngineOptions quiet_options() {
  EngineOptions options;
  options.tunables = {{"idle_drain_ms", "60000"}, {"commit_ahead_superslabs", "0"}};
  return options;
}

class Memory : public ::testing::Test {
 protected:
  void SetUp() override {
    arena = daemon.create("a", 8 * kMiB)->id;
    key = daemon.open_attached("a", "alice");
  }
  AllocateArgs args(std::uint64_t size, std::uint32_t count, std::uint32_t wait_ms) {
    AllocateArgs a;
    a.session = key;
    a.arena_id = arena;
    a.size_bytes = size;
    a.count = count;
    a.wait_ms = wait_ms;
    return a;
  }
  Daemon daemon{3, quiet_options()};
  ArenaId arena;
  SessionKey key;
};

TEST_F(Memory, FullArenaNamesTheLimitTheUsageAndTheBiggestHolders) {
  const SessionKey bob = daemon.open_attached("a", "bob");
  ASSERT_TRUE(daemon.allocate(0, key, arena, 64 * 1024, 96).ok());
  ASSERT_TRUE(daemon.allocate(1, bob, arena, 64 * 1024, 32).ok());
  const auto full = daemon.allocate(2, bob, arena, 1);
  ASSERT_FALSE(full.ok());
  EXPECT_EQ(full.error().error, Error::kArenaFull);
  const std::string& text = full.error().message;
  for (const char* part : {"1 block of 1 bytes", "'a'", "8 MiB are held", "capacity of 8 MiB",
                           "'alice' 6 MiB in 96 blocks", "'bob' 2 MiB in 32 blocks",
                           error_advice(Error::kArenaFull)}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " is not in: " << text;
  }
  EXPECT_LT(text.find("'alice'"), text.find("'bob'"));
}

TEST_F(Memory, CachedBlocksOfOtherShardsAreTrimmedBeforeAnAllocationFails) {
  // Every class on shards 0 and 1, then all of it freed: their heaps keep slabs and full magazines.
  for (const std::uint32_t shard : {0u, 1u}) {
    for (std::uint64_t size = 8; size <= 8192; size *= 2) {
      const auto got = daemon.allocate(shard, key, arena, size, 16);
      ASSERT_TRUE(got.ok()) << got.error().message;
      ASSERT_EQ(daemon.free(shard == 0 ? 1 : shard, key, arena, refs_of(*got))->done,
                16u);  // shard 0's come back remotely
    }
  }
  const auto rows = wait_for<std::vector<SlabInfoRow>>(
      [&](auto done) { daemon.control().slab_info(daemon_itself(), "a", done); });
  std::uint64_t slabs_bytes = 0;
  for (const SlabInfoRow& row : *rows) slabs_bytes += row.usage.slab_bytes;
  ASSERT_GT(slabs_bytes, 0u);
  const auto all = daemon.allocate(2, key, arena, 8 * kMiB);
  ASSERT_TRUE(all.ok()) << all.error().message;
  ASSERT_EQ(daemon.free(2, key, arena, refs_of(*all))->done, 1u);
  expect_exact(daemon, 0);
}

TEST_F(Memory, WaiterIsServedWhenTheOwnersShardFrees) {
  const auto all = daemon.allocate(0, key, arena, 8 * kMiB);
  auto waiting = daemon.allocate_later(1, args(64, 1, 60'000));
  ASSERT_EQ(daemon.free(0, key, arena, refs_of(*all))->done, 1u);
  const auto got = answer_of(std::move(waiting));
  EXPECT_TRUE(got.ok()) << got.error().message;
}

TEST_F(Memory, WaiterIsServedWhenAnotherShardFreesRemotely) {
  const auto all = daemon.allocate(0, key, arena, 8 * kMiB);
  auto waiting = daemon.allocate_later(1, args(64, 1, 60'000));
  ASSERT_EQ(daemon.free(2, key, arena, refs_of(*all))->done, 1u);  // owner 0, freer 2, waiter 1
  EXPECT_TRUE(answer_of(std::move(waiting)).ok());
}

TEST_F(Memory, WaiterIsServedWhenItsOwnShardFrees) {
  const auto all = daemon.allocate(0, key, arena, 4 * kMiB, 2);
  auto waiting = daemon.allocate_later(0, args(4 * kMiB, 1, 60'000));
  ASSERT_EQ(daemon.free(0, key, arena, {all->blocks[0].ref.value})->done, 1u);
  EXPECT_TRUE(answer_of(std::move(waiting)).ok());
}

TEST_F(Memory, WaiterIsServedWhenAHolderIsReaped) {
  const SessionKey bob = daemon.open_attached("a", "bob");
  ASSERT_TRUE(daemon.allocate(0, bob, arena, 64 * 1024, 128).ok());
  auto waiting = daemon.allocate_later(1, args(8 * kMiB, 1, 60'000));
  daemon.control().keepalive_lost(bob, 1'000'001);
  EXPECT_TRUE(answer_of(std::move(waiting)).ok());
}

TEST_F(Memory, WaitExpiresNotEarlierThanAskedForAndSaysWhoHolds) {
  const auto all = daemon.allocate(0, key, arena, 8 * kMiB);
  const std::uint64_t before = now_ns();
  const auto late = daemon.allocate(1, key, arena, 64, 1, 80);
  EXPECT_GE(now_ns() - before, 80 * kNsPerMs);
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().error, Error::kWaitExpired);
  for (const char* part : {"80 ms", "8 MiB are held", "'alice'", error_advice(Error::kWaitExpired)})
    EXPECT_NE(late.error().message.find(part), std::string::npos) << late.error().message;
}

TEST_F(Memory, WaitersOfAShardAreServedInOrder) {
  const auto all = daemon.allocate(0, key, arena, 2 * kMiB, 4);
  // The first needs more than comes back at first; the others would fit, and must not overtake.
  auto first = daemon.allocate_later(1, args(6 * kMiB, 1, 60'000));
  auto second = daemon.allocate_later(1, args(64, 1, 60'000));
  auto third = daemon.allocate_later(1, args(64, 1, 60'000));
  auto refs = refs_of(*all);
  ASSERT_EQ(daemon.free(0, key, arena, {refs[0]})->done, 1u);
  ASSERT_EQ(daemon.free(2, key, arena, {refs[1]})->done, 1u);
  // Who does not wait may try, and gets what is there.
  EXPECT_TRUE(daemon.allocate(1, key, arena, 2 * kMiB).ok());
  EXPECT_EQ(second.wait_for(std::chrono::milliseconds(0)), std::future_status::timeout);
  EXPECT_EQ(first.wait_for(std::chrono::milliseconds(0)), std::future_status::timeout);
  const SessionKey bob = daemon.open_attached("a", "bob");
  ASSERT_EQ(daemon.free(1, bob, arena, {refs[2], refs[3]})->done, 2u);
  ASSERT_TRUE(answer_of(std::move(first)).ok());
  ASSERT_TRUE(daemon.close(key).ok());  // 8 MiB come back, and the session's waiters are answered
  EXPECT_EQ(answer_of(std::move(second)).error().error, Error::kUnknownSession);
  EXPECT_EQ(answer_of(std::move(third)).error().error, Error::kUnknownSession);
  expect_exact(daemon, 0);
}

TEST_F(Memory, ManyWaitersOnAllShardsAreAllServedWhenMemoryComesBackPieceByPiece) {
  const auto all = daemon.allocate(0, key, arena, 64 * 1024, 128);
  std::vector<std::future<Answer<AllocatedBlocks>>> waiting;
  for (int i = 0; i < 30; ++i)
    waiting.push_back(daemon.allocate_later(i % 3, args(64 * 1024, 4, 60'000)));
  const auto refs = refs_of(*all);
  for (std::size_t i = 0; i < refs.size(); i += 8) {
    ASSERT_EQ(
        daemon
            .free(static_cast<std::uint32_t>(i / 8 % 3), key, arena,
                  {refs.begin() + static_cast<long>(i), refs.begin() + static_cast<long>(i) + 8})
            ->done,
        8u);
  }
  for (auto& w : waiting) EXPECT_TRUE(answer_of(std::move(w)).ok());
  expect_exact(daemon, 120);
}

}  // namespace
}  // namespace arenad::server
