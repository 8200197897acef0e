// Threads with a heap each hand blocks to each other while sessions die and memory comes and goes;
// then all is counted.
#include <array>
#include <atomic>
#include <thread>

#include "tests/allocator/arena_fixture.h"
#include "tests/allocator/seed.h"
#include "tests/support/workers.h"

namespace arenad {
namespace {

constexpr SessionId kMortal{900};  // its blocks are dropped; the reaper finds them
constexpr std::size_t kThreads = 3;
constexpr std::uint64_t kStepsEach = 100'000;

class StressTest : public ArenaWithHeaps {
 protected:
  // What a thread does. Each payload says which ref it belongs to; whoever gets the ref looks.
  void work(std::size_t i, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    Heap& mine = heap(i);
    std::vector<Allocation> held;
    for (std::uint64_t n = 0; n < kStepsEach; ++n) {
      const std::uint64_t r = random();
      const std::uint64_t what = r % 100;
      if (what < 45 && held.size() < 500) {
        const auto b =
            mine.allocate(size_of(r >> 8), Holder{{static_cast<std::uint16_t>(i + 1)}, 0});
        if (b) {
          stamp(*b);
          held.push_back(*b);
        } else if (b.error() != Error::kArenaFull) {
          ++refused_;
        }
      } else if (what < 70 && !held.empty()) {
        free_at(mine, held, r >> 8, r % 7 == 0);
      } else if (what < 85 && !held.empty()) {
        // Hands one on, and takes whatever lay there.
        const std::size_t at = (r >> 8) % held.size();
        const Allocation got = exchange(mailboxes_[(r >> 40) % mailboxes_.size()], held[at]);
        if (got.ref.value != 0)
          held[at] = got;
        else
          held[at] = held.back(), held.pop_back();
      } else if (what < 95) {
        const Allocation got = exchange(mailboxes_[(r >> 40) % mailboxes_.size()], Allocation{});
        if (got.ref.value != 0) held.push_back(got);
      } else if (what < 97) {
        [[maybe_unused]] const auto dropped = mine.allocate(size_of(r >> 8), Holder{kMortal, 0});
      } else {
        keep_house(mine, r >> 8);
      }
    }
    for (const Allocation& b : held) release(mine, b, false);
    mine.publish();
  }
  static std::uint64_t size_of(std::uint64_t r) {
    switch (r % 40) {
      case 0: return 140000 + (r >> 8) % 200000;
      case 1:
      case 2: return 1 + (r >> 8) % 60000;
      case 3:
      case 4:
      case 5: return 8;
      default: return 16 + (r >> 8) % 500;
    }
  }
  static void keep_house(Heap& h, std::uint64_t r) {
    if (r % 40 == 0)
      h.trim();
    else if (r % 10 == 0)
      h.idle_tick();
    else if (r % 2 == 0)
      h.publish();
    else
      h.drain();
  }
  void stamp(const Allocation& b) {
    *reinterpret_cast<std::uint64_t*>(arena().data() + b.offset) = b.ref.value;
  }
  void release(Heap& by, const Allocation& b, bool twice) {
    wrong_stamps_ += *reinterpret_cast<std::uint64_t*>(arena().data() + b.offset) != b.ref.value;
    refused_ += by.free(b.ref) != Error::kNone;
    if (twice) accepted_twice_ += by.free(b.ref) == Error::kNone;
  }
  void free_at(Heap& by, std::vector<Allocation>& held, std::uint64_t r, bool twice) {
    const std::size_t at = r % held.size();
    const Allocation b = held[at];
    held[at] = held.back();
    held.pop_back();
    release(by, b, twice);
  }
  // A mailbox holds a ref; its offset follows from it. acq_rel: the payload goes with the ref.
  Allocation exchange(std::atomic<std::uint64_t>& box, const Allocation& b) {
    const UntrustedRef got{box.exchange(b.ref.value, std::memory_order_acq_rel)};
    return got.value == 0 ? Allocation{}
                          : Allocation{Ref{got.value}, arena().describe(got).offset_bytes};
  }
  // Until the others are done.
  void keep_arena(const test::Workers& workers) {
    while (workers.go_on()) {
      arena().reap(kMortal);
      if (!arena().commit_ahead(1).ok()) ++refused_;
      arena().decommit_idle(1);
      std::this_thread::yield();
    }
  }

  std::array<std::atomic<std::uint64_t>, 64> mailboxes_{};
  std::atomic<std::uint64_t> wrong_stamps_{0}, refused_{0}, accepted_twice_{0};
};

TEST_F(StressTest, HandedOverBlocksAreNeitherLostNorDoubledAndTheCountsAgree) {
  const std::uint64_t seed = test_seed();
  make(32 * kMiB, kThreads);
  for (std::uint64_t round = 0; round < 4; ++round) {
    test::Workers keeper, workers;
    keeper.start([&] { keep_arena(keeper); });
    for (std::size_t i = 0; i < kThreads; ++i)
      workers.start([=, this] { work(i, seed + round * 100 + i); });
    workers.join();
    keeper.stop();
    keeper.join();
    expect_exact();
    EXPECT_EQ(wrong_stamps_, 0u);
    EXPECT_EQ(refused_, 0u);
    EXPECT_EQ(accepted_twice_, 0u);
    if (HasFailure()) return;
  }
  for (auto& box : mailboxes_) {
    const std::uint64_t left = box.exchange(0);
    EXPECT_TRUE(left == 0 || heap(0).free(Ref{left}) == Error::kNone);
  }
  arena().reap(kMortal);
  trim_all();
  trim_all();
  EXPECT_EQ(arena().units().taken_units(), 0u);
  HeapCounters sum;
  for (const auto& h : heaps_) sum += h->counters();
  EXPECT_EQ(sum.p0_counter_mismatch, 0u);
  EXPECT_EQ(sum.guard_trips, 0u);
  EXPECT_EQ(sum.allocs, sum.local_frees + sum.drained_blocks);
  EXPECT_GT(sum.drained_blocks, 1000u) << "else nothing was handed over";
}

TEST_F(StressTest, ProducerAndConsumerKeepAnExactBalance) {
  make(8 * kMiB, 2);
  constexpr std::uint64_t kBlocks = 200000;
  std::array<std::atomic<std::uint64_t>, 256> ring{};
  std::atomic<std::uint64_t> consumer_refused{0};
  test::Workers workers;
  workers.start([&] {
    for (std::uint64_t i = 0; i < kBlocks; ++i) {
      std::uint64_t ref = 0;
      const auto take = [&] {
        ref = ring[i % ring.size()].exchange(0, std::memory_order_acquire);
        if (ref == 0) heap(1).publish();
        return ref != 0;
      };
      if (!workers.wait_until(take)) return;
      consumer_refused += heap(1).free(Ref{ref}) != Error::kNone;
    }
    heap(1).publish();
  });
  for (std::uint64_t i = 0; i < kBlocks; ++i) {
    const auto b = heap(0).allocate(256, kHolder);
    ASSERT_TRUE(b.ok()) << error_name(b.error()) << " at " << i;
    ASSERT_TRUE(workers.wait_until([&] {
      std::uint64_t empty = 0;
      return ring[i % ring.size()].compare_exchange_weak(empty, b->ref.value,
                                                         std::memory_order_release);
    }));
  }
  workers.join();
  heap(0).drain();
  EXPECT_EQ(consumer_refused, 0u);
  EXPECT_EQ(heap(1).counters().remote_frees, kBlocks);
  EXPECT_EQ(heap(0).counters().drained_blocks, kBlocks);
  EXPECT_EQ(report().held, 0u);
  heap(0).trim();
  EXPECT_EQ(arena().units().taken_units(), 0u);
}

}  // namespace
}  // namespace arenad
