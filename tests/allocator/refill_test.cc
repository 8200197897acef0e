// The batch refill ("P0") and the predecessor's toggles around it.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>

#include "allocator/base/log.h"
#include "tests/allocator/arena_fixture.h"
#include "tests/support/eventually.h"

namespace arenad {
namespace {

std::mutex g_lines_mutex;
std::vector<std::string> g_lines;

class RefillTest : public ArenaWithHeaps {
 protected:
  RefillTest() {
    for (const char* name : kNames) ::unsetenv(name);
    tunables().load_environment();
    g_lines.clear();
    set_log_sink([](std::string_view line) {
      const std::lock_guard lock(g_lines_mutex);
      g_lines.emplace_back(line);
    });
  }
  ~RefillTest() override {
    set_log_sink(nullptr);
    for (const char* name : kNames) ::unsetenv(name);
  }
  void environment(const char* name, const char* value) {
    ::setenv(name, value, 1);
    tunables().load_environment();
  }
  bool batches() const { return p0_batch_refill_built() && tunables().p0_active(); }
  // How many blocks one refill brings.
  std::uint64_t blocks_of_one_refill() {
    const HeapCounters before = heap().counters();
    const auto b = take(1, 256);
    const HeapCounters after = heap().counters();
    EXPECT_EQ(after.refills, before.refills + 1);
    const std::uint64_t got =
        after.carved_blocks + after.spliced_blocks - before.carved_blocks - before.spliced_blocks;
    give(b);
    return got;
  }

  static constexpr const char* kNames[] = {"HAKMEM_TINY_P0_ENABLE", "HAKMEM_TINY_P0_DISABLE",
                                           "HAKMEM_TINY_P0_NO_DRAIN", "HAKMEM_TINY_P0_LOG",
                                           "ARENAD_GUARDS_PRIVATE"};
  KeepTunables keep_;
};

TEST_F(RefillTest, BatchRefillIsOnWhenUnsetOrNotZeroAndOffAtZero) {
  EXPECT_TRUE(tunables().p0_active());
  environment("HAKMEM_TINY_P0_ENABLE", "1");
  EXPECT_TRUE(tunables().p0_active());
  environment("HAKMEM_TINY_P0_ENABLE", "");
  EXPECT_TRUE(tunables().p0_active());
  environment("HAKMEM_TINY_P0_ENABLE", "0");
  EXPECT_FALSE(tunables().p0_active());
}

TEST_F(RefillTest, DisableWinsOverEverything) {
  environment("HAKMEM_TINY_P0_DISABLE", "1");
  environment("HAKMEM_TINY_P0_ENABLE", "1");
  EXPECT_FALSE(tunables().p0_active());
  tunables().p0_enable = true;
  EXPECT_FALSE(tunables().p0_active());
  make(4 * kMiB);
  EXPECT_EQ(blocks_of_one_refill(), 1u);
  environment("HAKMEM_TINY_P0_DISABLE", "0");
  EXPECT_TRUE(tunables().p0_active()) << "0 is as unset";
}

TEST_F(RefillTest, RefillBringsABatchWhenOnAndOneBlockWhenOff) {
  make(4 * kMiB);
  const std::uint64_t got = blocks_of_one_refill();
  if (p0_batch_refill_built())
    EXPECT_GT(got, 16u);
  else
    EXPECT_EQ(got, 1u);
}

TEST_F(RefillTest, ToggleIsLive) {
  make(4 * kMiB);
  tunables().p0_enable = false;
  EXPECT_EQ(blocks_of_one_refill(), 1u);
  heap().trim();
  tunables().p0_enable = true;
  EXPECT_EQ(blocks_of_one_refill() > 1, batches());
  heap().trim();
  tunables().p0_enable = false;
  EXPECT_EQ(blocks_of_one_refill(), 1u);
}

TEST_F(RefillTest, NoDrainLeavesRemoteFreesAloneAndDrainTakesThem) {
  for (const bool no_drain : {true, false}) {
    heaps_.clear();
    make(16 * kMiB, 2);
    environment("HAKMEM_TINY_P0_NO_DRAIN", no_drain ? "1" : "0");
    give(take(200, 256), 1);
    heap(1).publish();
    for (int i = 0; i < 2000; ++i) take(1, 256);
    if (!p0_batch_refill_built())
      continue;  // one at a time drains before it takes a new slab, whatever the toggle says
    EXPECT_EQ(heap(0).counters().drained_blocks, no_drain ? 0u : 200u);
    EXPECT_EQ(heap(0).has_pending(), no_drain);
  }
}

TEST_F(RefillTest, LogHasALineWithAllFieldsPerRefill) {
  make(4 * kMiB);
  environment("HAKMEM_TINY_P0_LOG", "1");
  // The limiter is per second and shared by all tests of the process: ask until a line comes.
  const auto deadline = std::chrono::steady_clock::now() + test::kDeadline;
  while (g_lines.empty() && std::chrono::steady_clock::now() < deadline) {
    give(take(1, 256));
    heap().trim();
  }
  ASSERT_FALSE(g_lines.empty());
  unsigned heap_id = 99, cls = 99, slab = 99;
  unsigned long long taken = 0, delta = 1;
  ASSERT_EQ(std::sscanf(g_lines[0].c_str(),
                        "[P0_COUNTER_OK] heap=%u cls=%u slab=%u taken=%llu delta=%llu", &heap_id,
                        &cls, &slab, &taken, &delta),
            5)
      << g_lines[0];
  EXPECT_EQ(heap_id, 0u);
  EXPECT_EQ(cls, arena().geometry().class_of(256).value);
  EXPECT_LT(slab, arena().unit_count());
  EXPECT_EQ(taken, delta);
  EXPECT_GT(taken, 0u);
}

TEST_F(RefillTest, LogIsRateLimitedAndSaysHowManyItLeftOut) {
  make(4 * kMiB);
  environment("HAKMEM_TINY_P0_LOG", "1");
  const auto start = std::chrono::steady_clock::now();
  bool said = false;
  while (!said && std::chrono::steady_clock::now() - start < test::kDeadline) {
    for (int i = 0; i < 100; ++i) {
      give(take(1, 256));
      heap().trim();
    }
    for (const std::string& line : g_lines) said |= line.find(" suppressed=") != std::string::npos;
  }
  EXPECT_TRUE(said);
  const auto seconds = static_cast<std::size_t>(
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - start)
          .count());
  EXPECT_LE(g_lines.size(), 20 * (seconds + 2));
  EXPECT_LT(g_lines.size(), heap().counters().refills);
}

TEST_F(RefillTest, NothingIsLoggedUnlessAsked) {
  make(4 * kMiB);
  give(take(10000, 256));
  EXPECT_TRUE(g_lines.empty());
}

TEST_F(RefillTest, EveryRefillsDeltaAgreesWhateverComesHomeMeanwhile) {
  make(16 * kMiB, 2);
  std::vector<Allocation> kept;
  for (int round = 0; round < 200; ++round) {
    for (const std::uint64_t size : {8, 64, 256, 1000, 30000, 200000}) {
      auto blocks = take(static_cast<std::size_t>(size < 1000 ? 50 : 3), size);
      give(blocks, static_cast<std::size_t>(round % 2));
    }
    heap(1).publish();
    if (round % 17 == 0) heap(0).trim();
  }
  const HeapCounters c = heap(0).counters();
  EXPECT_EQ(c.p0_counter_mismatch, 0u);
  EXPECT_EQ(c.p0_counter_ok, c.refills);
  EXPECT_GT(c.drained_blocks, 0u);
}

TEST_F(RefillTest, SpliceCountsWhatItMoved) {
  make(4 * kMiB);
  give(take(300, 256));
  heap().trim();
  const auto held = take(128 + 1, 256);  // a slab is kept alive by one block
  give({held.begin() + 1, held.end()});
  const HeapCounters before = heap().counters();
  while (heap().counters().spliced_blocks == before.spliced_blocks) {
    heap().trim();
    ASSERT_EQ(take(1, 256).size(), 1u);
  }
  const HeapCounters after = heap().counters();
  EXPECT_GT(after.spliced_blocks, before.spliced_blocks);
  EXPECT_EQ(after.p0_counter_mismatch, 0u);
  expect_exact();
}

TEST_F(RefillTest, PrivateGuardsPassAWorkloadInEveryLayout) {
  environment("ARENAD_GUARDS_PRIVATE", "1");
  for (const Layout layout : {Layout::plain(), Layout::headered(), Layout::redzoned()}) {
    heaps_.clear();
    make(16 * kMiB, 2, layout);
    for (int round = 0; round < 5; ++round)
      for (const std::uint64_t size : {8, 100, 512, 4096, 131072}) {
        give(take(static_cast<std::size_t>(size < 1000 ? 400 : 4), size),
             static_cast<std::size_t>(round % 2));
        heap(1).publish();
        heap(0).drain();
        if (round == 3) heap(0).trim();
      }
    expect_exact();
  }
}

TEST_F(RefillTest, PrivateGuardAbortsWithTheLineWhenAFreeBlocksWordIsTaken) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  make(4 * kMiB);
  environment("ARENAD_GUARDS_PRIVATE", "1");
  broken_on_purpose_ = true;
  const Allocation b = take(1, 256)[0];
  give({b});
  heap().trim();
  word(b.ref).store(BlockWord::held(word(b.ref).load(), kHolder));
  EXPECT_DEATH(
      {
        set_log_sink(nullptr);
        take(1, 256);
      },
      "LINEAR_CARVE.*\n.*TRC_GUARD. failfast=1 env=1.*\n.*SPLICE_CORRUPT.*word not free");
}

// A source without slabs, as a peer's is before its first lease.
class EmptySource final : public SlabSource {
 public:
  Result<SlabIndex> take(HeapId, const RunShape&, SuperslabIndex) override {
    ++asked;
    return Error::kLeaseNeeded;
  }
  void give_back(HeapId, SlabIndex, std::uint32_t) override {}
  int asked = 0;
};

TEST_F(RefillTest, SourcesRefusalReachesTheCallerAtOnce) {
  make(4 * kMiB);
  EmptySource source;
  Heap peer(arena(), HeapId{1}, SessionId{2}, source);
  EXPECT_EQ(peer.allocate(64, kHolder).error(), Error::kLeaseNeeded);
  EXPECT_EQ(peer.allocate(1 << 20, kHolder).error(), Error::kLeaseNeeded);
  EXPECT_EQ(peer.allocate_aligned(64, 4096, kHolder).error(), Error::kLeaseNeeded);
  EXPECT_EQ(source.asked, 3);
  EXPECT_EQ(peer.counters().p0_counter_mismatch, 0u);
}

}  // namespace
}  // namespace arenad
