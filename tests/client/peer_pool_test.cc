// A peer's heaps without a daemon: pool, stock and the lock, on an arena of this process.
#include "client/lib/peer_pool.h"

#include <latch>
#include <thread>

#include "client/lib/daemon_gate.h"
#include "tests/client/local_leases.h"

namespace arenad::client {
namespace {

class PeerPoolTest : public LocalArena {};

TEST_F(PeerPoolTest, AllocatesSmallLargeAndAlignedAndFreesThem) {
  make(64 << 20);
  const auto p = pool(7);
  std::vector<AllocatedBlock> blocks;
  for (const std::uint64_t size : {8, 100, 4096, 128 * 1024, 128 * 1024 + 1, 5 << 20}) blocks.push_back(take(*p, size));
  blocks.push_back(take(*p, 100, 4096));
  EXPECT_EQ(blocks.back().offset_bytes % 4096, 0u);
  EXPECT_GE(blocks[1].usable_bytes, 100u);
  EXPECT_GE(blocks[5].usable_bytes, 5u << 20);
  EXPECT_EQ(leases().held, blocks.size());
  for (const AllocatedBlock& b : blocks) EXPECT_EQ(give(*p, b.ref), Error::kNone);
  EXPECT_EQ(give(*p, blocks[0].ref), Error::kDoubleFree);
  EXPECT_EQ(leases().held, 0u);
}

TEST_F(PeerPoolTest, ThreadEndsAndTheNextOneTakesItsHeap) {
  make(64 << 20);
  const auto p = pool(7);
  for (int i = 0; i < 5; ++i) std::thread([&] { EXPECT_EQ(give(*p, take(*p, 64).ref), Error::kNone); }).join();
  EXPECT_EQ(counts.opens, 1u);
  EXPECT_EQ(p->heap_count(), 1u);
}

TEST_F(PeerPoolTest, ThreadThatEndsPublishesWhatItFreedOfOthers) {
  make(64 << 20);
  const auto p = pool(7);
  const Ref ref = take(*p, 64).ref;
  std::thread([&] { EXPECT_EQ(give(*p, ref), Error::kNone); }).join();
  EXPECT_TRUE(peer_cache.find(p->id())->has_pending());
}

TEST_F(PeerPoolTest, GrowthLeasesFurtherAheadEachTimeItRunsDry) {
  make(256 << 20);
  const auto p = pool(7);
  for (int i = 0; i < 256 * 512; ++i) (void)take(*p, 256);   // 512 slabs
  EXPECT_LE(counts.leases, 12u);   // 1, 2, 4, .. 128 and 128 each from there on
}

TEST_F(PeerPoolTest, TickReturnsWhatNobodyNeedsAndEndsWithNothing) {
  make(64 << 20);
  const auto p = pool(7);
  std::vector<AllocatedBlock> blocks;
  for (int i = 0; i < 256 * 64; ++i) blocks.push_back(take(*p, 256));
  for (const AllocatedBlock& b : blocks) EXPECT_EQ(give(*p, b.ref), Error::kNone);
  int ticks = 0;
  for (; p->tick() && ticks < 200; ++ticks) p->lease_ahead();
  p->lease_ahead();
  EXPECT_LT(ticks, 100);
  EXPECT_EQ(counts.returned, counts.leased);
}

TEST_F(PeerPoolTest, TickBringsHomeWhatOthersFreedOfASleepingThread) {
  make(64 << 20);
  const auto p = pool(7);
  const auto q = pool(8);
  const Ref ref = take(*p, 64).ref;
  while (p->tick()) p->lease_ahead();
  EXPECT_EQ(give(*q, ref), Error::kNone);
  EXPECT_EQ(leases().returning, 1u);
  while (q->tick()) q->lease_ahead();   // q sleeps: its frees are published
  EXPECT_TRUE(p->tick());
  EXPECT_EQ(leases().returning, 0u);
}

TEST_F(PeerPoolTest, TrimReturnsAllThatIsNotHeld) {
  make(64 << 20);
  const auto p = pool(7);
  const AllocatedBlock kept = take(*p, 256);
  std::vector<AllocatedBlock> blocks;
  for (int i = 0; i < 10'000; ++i) blocks.push_back(take(*p, 256));
  for (const AllocatedBlock& b : blocks) EXPECT_EQ(give(*p, b.ref), Error::kNone);
  p->trim();
  EXPECT_EQ(counts.leased - counts.returned, 1u);
  EXPECT_EQ(give(*p, kept.ref), Error::kNone);
}

TEST_F(PeerPoolTest, FullArenaIsAnErrorWithTheDaemonsWordsAndHurtsNothing) {
  make(2 << 20);
  const auto p = pool(7);
  std::vector<AllocatedBlock> blocks;
  Status status;
  while (status.ok()) {
    AllocatedBlock block;
    status = p->allocate(30'000, {}, false, block);
    if (status.ok()) blocks.push_back(block);
  }
  EXPECT_EQ(status.reason, Error::kArenaFull);
  EXPECT_EQ(status.message, "the arena of this test is full");
  EXPECT_GE(blocks.size(), 60u);
  for (const AllocatedBlock& b : blocks) EXPECT_EQ(give(*p, b.ref), Error::kNone);
  (void)take(*p, 30'000);
}

TEST_F(PeerPoolTest, ClosedPoolKeepsEverybodyOutAndCountsItsBlocks) {
  make(64 << 20);
  const auto p = pool(7);
  AllocatedBlock block;
  ASSERT_TRUE(p->allocate(64, {}, true, block).ok());
  std::latch open(1), closed(1);
  std::thread other([&] {
    AllocatedBlock mine;
    ASSERT_TRUE(p->allocate(64, {}, true, mine).ok());
    open.count_down();
    closed.wait();
    EXPECT_EQ(p->allocate(64, {}, true, mine).reason, Error::kUnknownSession);
    EXPECT_FALSE(peer_cache.find(p->id())->enter());
  });
  open.wait();
  EXPECT_EQ(p->close(closed_status()), 2);
  EXPECT_EQ(p->close(closed_status()), 0);
  closed.count_down();
  other.join();
}

// Owners at full speed while others come in all the time: nothing is lost, and nobody waits for ever.
TEST_F(PeerPoolTest, OwnersAndOthersTakeTurns) {
  make(64 << 20);
  const auto p = pool(7);
  std::atomic<bool> stop{false};
  std::vector<std::thread> owners;
  for (int t = 0; t < 3; ++t)
    owners.emplace_back([&] {
      std::vector<Ref> mine;
      for (std::uint32_t i = 0; !stop.load(std::memory_order_relaxed); ++i) {
        mine.push_back(take(*p, 8 + i % 600).ref);
        if (mine.size() < 500) continue;
        for (const Ref ref : mine) EXPECT_EQ(give(*p, ref), Error::kNone);
        mine.clear();
      }
      for (const Ref ref : mine) EXPECT_EQ(give(*p, ref), Error::kNone);
    });
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(400);
  int rounds = 0;
  for (; std::chrono::steady_clock::now() < end; ++rounds) {
    p->trim();
    p->tick();
    p->lease_ahead();
  }
  stop = true;
  for (std::thread& t : owners) t.join();
  EXPECT_GT(rounds, 5);
  p->trim();
  EXPECT_EQ(leases().held, 0u);
  EXPECT_EQ(counts.returned, counts.leased);
}

}  // namespace
}  // namespace arenad::client
