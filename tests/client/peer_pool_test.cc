// A peer's heaps without a daemon: pool, stock and the lock, on an arena of this process.
#include "client/lib/peer_pool.h"

#include <array>
#include <atomic>
#include <chrono>
#include <thread>

#include "client/lib/daemon_gate.h"
#include "tests/client/local_leases.h"
#include "tests/support/workers.h"

namespace arenad::client {
namespace {

using test::Workers;

class PeerPoolTest : public LocalArena {};

// Enters the thread's heap of the pool through the cache; null when that is refused.
PeerFacts* enter(const PeerPool& pool) {
  const EnteredHeap heap = peer_cache.enter(pool.id());
  return heap ? &heap.facts() : nullptr;
}

TEST_F(PeerPoolTest, AllocatesSmallLargeAndAlignedAndFreesThem) {
  make(64 << 20);
  const auto p = pool(7);
  std::vector<AllocatedBlock> blocks;
  for (const std::uint64_t size : {8, 100, 4096, 128 * 1024, 128 * 1024 + 1, 5 << 20})
    blocks.push_back(take(*p, size));
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
  for (int i = 0; i < 5; ++i)
    std::thread([&] { EXPECT_EQ(give(*p, take(*p, 64).ref), Error::kNone); }).join();
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
  for (int i = 0; i < 256 * 512; ++i) (void)take(*p, 256);  // 512 slabs
  EXPECT_LE(counts.leases, 12u);  // 1, 2, 4, .. 128 and 128 each from there on
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

TEST_F(PeerPoolTest, WhileTheDaemonIsAwayWhatIsFreedStaysForTheHeaps) {
  make(64 << 20);
  const auto p = pool(7);
  const auto allocate = [&](std::vector<AllocatedBlock>& blocks) {
    for (int i = 0; i < 256 * 200; ++i) blocks.push_back(take(*p, 256));
  };
  std::vector<AllocatedBlock> blocks, again;
  allocate(blocks);  // more than a stock may have
  counts.reachable = false;
  for (const AllocatedBlock& b : blocks) EXPECT_EQ(give(*p, b.ref), Error::kNone);
  for (int ticks = 0; ticks < 100; ++ticks) {
    p->tick();
    p->lease_ahead();
  }
  p->trim();
  EXPECT_EQ(counts.returned, 0u);
  const std::uint32_t leased = counts.leased;
  allocate(again);
  EXPECT_EQ(counts.leased, leased);
  for (const AllocatedBlock& b : again) EXPECT_EQ(give(*p, b.ref), Error::kNone);
  counts.reachable = true;
  p->trim();
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
  while (q->tick()) q->lease_ahead();  // q sleeps: its frees are published
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

// kLeaseNeeded stays between a heap and its pool. Every kind of allocation needs a lease at some
// time, and fails in the end.
TEST_F(PeerPoolTest, NeverAnswersThatALeaseIsNeeded) {
  make(4 << 20);
  const auto p = pool(7);
  struct Case {
    std::uint64_t size;
    std::uint32_t align;
  };
  for (const Case& c : {Case{64, 0}, Case{30'000, 0}, Case{200'000, 0}, Case{3000, 4096}}) {
    std::vector<AllocatedBlock> blocks;
    Status status;
    while (status.ok()) {
      AllocatedBlock block;
      status = p->allocate(c.size, {.align_bytes = c.align}, false, block);
      if (status.ok()) blocks.push_back(block);
    }
    EXPECT_EQ(status.reason, Error::kArenaFull) << c.size;
    for (const AllocatedBlock& b : blocks) EXPECT_EQ(give(*p, b.ref), Error::kNone);
  }
}

TEST_F(PeerPoolTest, ClosedPoolKeepsEverybodyOutAndCountsItsBlocks) {
  make(64 << 20);
  const auto p = pool(7);
  AllocatedBlock block;
  ASSERT_TRUE(p->allocate(64, {}, true, block).ok());
  std::atomic<bool> open{false}, closed{false};
  Workers workers;
  workers.start([&] {
    AllocatedBlock mine;
    ASSERT_TRUE(p->allocate(64, {}, true, mine).ok());
    open = true;
    ASSERT_TRUE(workers.wait_until([&] { return closed.load(); }));
    EXPECT_EQ(p->allocate(64, {}, true, mine).reason, Error::kUnknownSession);
    EXPECT_EQ(enter(*p), nullptr);
  });
  ASSERT_TRUE(workers.wait_until([&] { return open.load(); }));
  EXPECT_EQ(p->close(closed_status()), 2);
  EXPECT_EQ(p->close(closed_status()), 0);
  closed = true;
  workers.join();
}

TEST_F(PeerPoolTest, TheFastWayIsThereAgainAfterOthersWereInside) {
  make(64 << 20);
  const auto p = pool(7);
  const Ref first = take(*p, 64).ref;
  PeerHeap& heap = *peer_cache.find(p->id());
  EXPECT_TRUE(heap.used_since_last_look());
  EXPECT_FALSE(heap.used_since_last_look());
  ASSERT_EQ(enter(*p), &heap);
  peer_cache.leave();
  EXPECT_TRUE(heap.used_since_last_look());
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(heap.with_owner_out(UINT64_MAX, [](Heap& h) { h.idle_tick(); }));
    EXPECT_FALSE(heap.used_since_last_look());  // only the owner's work counts
    EXPECT_EQ(enter(*p), &heap);
    EXPECT_TRUE(peer_cache.inside());
    peer_cache.leave();
    EXPECT_TRUE(heap.used_since_last_look());
  }
  EXPECT_EQ(give_fast(*p, first), Error::kNone);
}

TEST_F(PeerPoolTest, NobodyComesInWhileTheOwnerIsInside) {
  make(64 << 20);
  const auto p = pool(7);
  const Ref ref = take(*p, 64).ref;
  PeerHeap* const heap = peer_cache.find(p->id());
  ASSERT_NE(enter(*p), nullptr);
  std::thread([&] {
    EXPECT_FALSE(heap->with_owner_out(1'000, [](Heap&) { ADD_FAILURE() << "two in one heap"; }));
  }).join();
  peer_cache.leave();
  std::thread([&] {
    EXPECT_TRUE(heap->with_owner_out(UINT64_MAX, [](Heap& h) { h.publish(); }));
  }).join();
  EXPECT_EQ(give_fast(*p, ref), Error::kNone);
}

TEST_F(PeerPoolTest, OneThreadInMoreArenasThanItsCacheHas) {
  make(64 << 20);
  std::vector<std::shared_ptr<PeerPool>> pools;
  for (std::uint16_t s = 7; s < 17; ++s) pools.push_back(pool(s));
  std::vector<Ref> refs;
  for (int round = 0; round < 3; ++round)
    for (const auto& p : pools) refs.push_back(take_fast(*p, 64));
  EXPECT_EQ(counts.opens, pools.size());  // a heap each, found again
  for (std::size_t i = 0; i < refs.size(); ++i)
    EXPECT_EQ(give_fast(*pools[i % pools.size()], refs[i]), Error::kNone);
  EXPECT_EQ(leases().held, 0u);
  // The pools end; the cache still has some of their heaps.
  pools.erase(pools.begin() + 1, pools.end());
  EXPECT_EQ(give_fast(*pools[0], take_fast(*pools[0], 64)), Error::kNone);
}

// The owner's store to busy_ may still be in its store buffer when another thread comes. The other
// thread's barrier is for this case.
TEST_F(PeerPoolTest, OwnerAndOthersNeverMeet) {
  constexpr int kVisits = 30'000, kLeastVisits = 300;
  make(64 << 20);
  const auto p = pool(7);
  std::atomic<PeerHeap*> heap{nullptr};
  std::atomic<bool> inside{false};
  std::atomic<int> times{0};
  Workers workers;
  workers.start([&] {
    (void)take(*p, 64);
    heap = peer_cache.find(p->id());
    while (workers.go_on()) {
      ASSERT_NE(enter(*p), nullptr);
      for (int i = 0; i < 50; ++i)
        inside.store(true, std::memory_order_relaxed);  // long enough to be seen
      inside.store(false, std::memory_order_relaxed);
      peer_cache.leave();
      times.store(times.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }
  });
  ASSERT_TRUE(workers.wait_until([&] { return heap != nullptr; }));
  int meetings = 0;
  // A busy machine, or a sanitizer, makes a visit slow. Then there are fewer.
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  for (int visit = 0; visit < kVisits; ++visit) {
    if (visit >= kLeastVisits && std::chrono::steady_clock::now() > end) break;
    // The owner works at full speed again before the next visit. Without the barrier about one
    // visit in some thousands meets it, so there are many, and nothing sleeps between them.
    const int enough = times + 2;
    for (int spins = 1; workers.go_on() && times < enough; ++spins)
      if (spins % 2000 == 0) std::this_thread::yield();
    EXPECT_TRUE(heap.load()->with_owner_out(UINT64_MAX, [&](Heap&) {
      for (int i = 0; i < 50; ++i) meetings += inside.load(std::memory_order_relaxed) ? 1 : 0;
    }));
  }
  workers.stop();
  workers.join();
  EXPECT_EQ(meetings, 0);
}

// Owners are in the middle of fast operations when the session closes. Each comes out, and none
// enters again.
TEST_F(PeerPoolTest, CloseWaitsForOwnersAtFullSpeed) {
  make(64 << 20);
  for (std::uint16_t session = 7; session < 22; ++session) {
    const auto p = pool(session);
    std::atomic<bool> closed{false};
    std::atomic<int> running{0};
    Workers workers;
    for (int t = 0; t < 2; ++t)
      workers.start([&] {
        (void)take(*p, 64);
        ++running;
        while (const EnteredHeap heap = peer_cache.enter(p->id())) {
          EXPECT_FALSE(closed);  // stored after close() had returned
          const auto got = heap.allocate(64, 0);
          if (got.ok()) {
            EXPECT_EQ(heap.free(got->ref), Error::kNone);
          }
          peer_cache.leave();
        }
        EXPECT_EQ(enter(*p), nullptr) << "the second try after the close";
      });
    ASSERT_TRUE(workers.wait_until([&] { return running == 2; }));
    p->close(closed_status());
    closed = true;
    workers.join();
    EXPECT_EQ(leases().held, 2u * (session - 6u));
  }
}

// Owners work at full speed while other threads enter their heaps all the time. Nothing is lost,
// and both sides get on: the test ends when each has had many turns.
TEST_F(PeerPoolTest, OwnersAndOthersTakeTurns) {
  constexpr int kTurns = 50;
  make(64 << 20);
  const auto p = pool(7);
  std::array<std::atomic<int>, 3> turns{};
  Workers workers;
  for (auto& mine : turns)
    workers.start([&] {
      std::vector<Ref> refs;
      for (std::uint32_t i = 0; workers.go_on(); ++i) {
        refs.push_back(take_fast(*p, 8 + i % 600));
        if (refs.size() < 500) continue;
        for (const Ref ref : refs) EXPECT_EQ(give_fast(*p, ref), Error::kNone);
        refs.clear();
        ++mine;
      }
      for (const Ref ref : refs) EXPECT_EQ(give_fast(*p, ref), Error::kNone);
    });
  int rounds = 0;
  EXPECT_TRUE(workers.wait_until([&] {
    for (int i = 0; i < 10; ++i, ++rounds) {
      p->trim();
      p->tick();
      p->lease_ahead();
    }
    return rounds >= kTurns && turns[0] >= kTurns && turns[1] >= kTurns && turns[2] >= kTurns;
  }));
  workers.stop();
  workers.join();
  p->trim();
  EXPECT_EQ(leases().held, 0u);
  EXPECT_EQ(counts.returned, counts.leased);
}

// What a detach does while the daemon decides.
TEST_F(PeerPoolTest, PausedPoolMakesItsThreadsWait) {
  make(64 << 20);
  const auto p = pool(7);
  std::atomic<std::uint64_t> operations{0};
  Workers workers;
  for (int i = 0; i < 3; ++i) {
    workers.start([&] {
      while (workers.go_on()) {
        EXPECT_EQ(give_fast(*p, take_fast(*p, 256)), Error::kNone);
        ++operations;
      }
    });
  }
  for (int round = 0; round < 50; ++round) {
    const std::uint64_t before = operations;
    ASSERT_TRUE(workers.wait_until([&] { return operations > before + 100; }));
    p->pause();
    const VerifyReport first = leases();
    EXPECT_TRUE(first.exact());
    for (int look = 0; look < 20; ++look) {
      const VerifyReport now = leases();
      ASSERT_EQ(now.held, first.held);
      ASSERT_EQ(now.free, first.free);
      ASSERT_EQ(now.returning, first.returning);
    }
    p->resume();
  }
  workers.stop();
  workers.join();
  EXPECT_EQ(leases().held, 0u);
}

TEST_F(PeerPoolTest, ThreadsThatWaitForAPauseHearOfTheClose) {
  make(64 << 20);
  const auto p = pool(7);
  (void)take(*p, 64);
  p->pause();
  const Status gone{Code::kNotFound, Error::kUnknownArena, "the arena was deleted"};
  Workers workers;
  // One has a heap already, one needs its first.
  workers.start([&] {
    AllocatedBlock block;
    EXPECT_EQ(p->allocate(64, {}, false, block).reason, Error::kUnknownArena);
  });
  p->close(gone);
  p->resume();  // the detach has come back
  workers.join();
  EXPECT_EQ(p->inside([](PeerHeap&) {}).reason, Error::kUnknownArena);
  p->reopen();
  EXPECT_EQ(p->inside([](PeerHeap&) {}).reason, Error::kUnknownArena) << "closed for good";
}

TEST_F(PeerPoolTest, SuspendedPoolRefusesAndOpensAgainWithItsBlocks) {
  make(64 << 20);
  const auto p = pool(7);
  AllocatedBlock first, second;
  ASSERT_TRUE(p->allocate(64, {}, true, first).ok());
  ASSERT_TRUE(p->allocate(64, {}, true, second).ok());
  EXPECT_EQ(p->suspend(away_status()), 2) << "Blocks that are alive";
  EXPECT_EQ(p->inside([](PeerHeap&) {}).code, Code::kUnavailable);
  p->reopen();
  EXPECT_EQ(give(*p, first.ref), Error::kNone);
  ASSERT_TRUE(p->inside([](PeerHeap& heap) { heap.lost_block(); }).ok());
  EXPECT_EQ(p->close(closed_status()), -1) << "less than when it was suspended";
  EXPECT_EQ(p->close(closed_status()), 0);
}

}  // namespace
}  // namespace arenad::client
