// Arenas that nobody uses cost nobody anything, whatever their capacity. Work is counted in page
// faults (tests/support/page_faults.h).
#include <cstdio>

#include "tests/core/daemon.h"
#include "tests/support/large_arena.h"
#include "tests/support/page_faults.h"

namespace arenad::server {
namespace {

constexpr std::uint64_t kHuge = test::kLargestHere;
constexpr int kHugeArenas = test::kManyLargest;

class EmptyArenas : public ::testing::Test {
 protected:
  void make_huge_arenas() {
    for (int i = 0; i < kHugeArenas; ++i) {
      const auto made = daemon.create("huge" + std::to_string(i), kHuge);
      ASSERT_TRUE(made.ok()) << made.error().message;
    }
  }
  std::uint64_t faults(std::uint32_t shard) {
    return daemon.loop(shard).run([](ShardApi&) { return test::page_faults(); });
  }
  std::uint64_t idle_drains() {
    std::uint64_t least = ~std::uint64_t{0};
    const auto stats = daemon.stats();
    for (const ShardFacts& shard : stats->shards) least = std::min(least, shard.idle_drains);
    return least;
  }
  void wait_for_idle_drains(std::uint64_t more) {
    const std::uint64_t before = idle_drains();
    EXPECT_TRUE(eventually([&] { return idle_drains() >= before + more; }));
  }
  // A call of the victim: allocate and free.
  void call(std::uint32_t shard) {
    const auto got = daemon.allocate(shard, victim, arena, 256);
    ASSERT_TRUE(got.ok()) << got.error().message;
    ASSERT_EQ(daemon.free(shard, victim, arena, refs_of(*got))->done, 1u);
  }
  double calls_a_second() {
    constexpr int kCalls = 2000;
    const std::uint64_t begin = now_ns();
    for (int i = 0; i < kCalls; i += 2) call(0);
    return kCalls * 1e9 / static_cast<double>(now_ns() - begin);
  }

  // Nothing is committed ahead, so the test needs little memory.
  static EngineOptions options() {
    EngineOptions options;
    options.tunables = {{"commit_ahead_superslabs", "0"}};
    return options;
  }
  Daemon daemon{2, options()};
  ArenaId arena = daemon.create("victim", 64 * kMiB)->id;
  SessionKey victim = daemon.open_attached("victim", "victim");
};

TEST_F(EmptyArenas, IdleTicksDoNotLookAtTheirCapacity) {
  call(0);
  call(1);
  std::uint64_t before[2] = {faults(0), faults(1)};
  make_huge_arenas();
  wait_for_idle_drains(3);
  for (std::uint32_t shard : {0u, 1u})
    EXPECT_LT(faults(shard) - before[shard], kHugeArenas * 300u) << "shard " << shard;
}

// The figures are not judged. While idle ticks looked at capacities, this took minutes.
TEST_F(EmptyArenas, VictimsCallsGoOnBesideThem) {
  const double without = calls_a_second();
  make_huge_arenas();
  const double with = calls_a_second();
  std::printf("calls a second: %.0f without, %.0f beside %d empty arenas of 4 TiB\n", without, with,
              kHugeArenas);
  expect_exact(daemon, 0);
}

}  // namespace
}  // namespace arenad::server
