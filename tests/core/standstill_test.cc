// Standstill by itself: what it finds, and that a missing shard does not hold the others for good.
#include "server/core/control/standstill.h"

#include <gtest/gtest.h>

#include <thread>

#include "allocator/check/verify.h"
#include "allocator/heap/heap.h"
#include "server/core/api/clock.h"
#include "tests/support/refs.h"

namespace arenad::server {
namespace {

std::shared_ptr<ArenaState> make_arena() {
  ArenaConfig options;
  options.capacity_bytes = 4 << 20;
  auto arena = Arena::create(options);
  EXPECT_TRUE(arena.ok());
  return std::make_shared<ArenaState>(std::move(*arena));
}

TEST(Standstill, FindsAWordThatSomebodyChanged) {
  const auto state = make_arena();
  Heap heap(*state->arena, HeapId{0}, kReaperSession);
  const auto block = heap.allocate(64, {SessionId{1}, 0});
  ASSERT_TRUE(block.ok());
  const auto audit = [&] {
    Standstill round(1, {{state, {}}}, 60'000);
    round.take_part({0}, [&](ArenaId, VerifyReport& report) {
      verify_heap(heap, &state->arena->ledger(), report);
    });
    EXPECT_TRUE(round.complete());
    return round.report(0);
  };
  EXPECT_TRUE(audit().exact());
  EXPECT_EQ(audit().held, 1u);
  AtomicWord& word = state->arena->word(slot_of(block->ref));
  const std::uint64_t held = word.exchange(BlockWord::free_of(word.load()));
  const VerifyReport damaged = audit();
  EXPECT_FALSE(damaged.exact());
  EXPECT_FALSE(damaged.findings.empty());
  word.store(held);
  EXPECT_TRUE(audit().exact());
}

TEST(Standstill, IsGivenUpWhenAShardDoesNotArrive) {
  const auto state = make_arena();
  Standstill round(3, {{state, {}}}, 20);
  std::atomic<int> verified{0};
  const std::uint64_t before = now_ns();
  {
    const auto part = [&](ShardId shard) {
      round.take_part(shard, [&](ArenaId, VerifyReport&) { ++verified; });
    };
    const std::jthread first(part, ShardId{0}), second(part, ShardId{1});
  }
  EXPECT_GE(now_ns() - before, 20 * kNsPerMs);
  EXPECT_FALSE(round.complete());
  EXPECT_EQ(verified, 0);
  round.take_part({2}, [&](ArenaId, VerifyReport&) { ++verified; });  // late: finds it abandoned
  EXPECT_FALSE(round.complete());
  EXPECT_EQ(verified, 0);
}

TEST(Standstill, NobodyGoesOnBeforeAllAreDone) {
  const auto state = make_arena();
  for (int repeat = 0; repeat < 50; ++repeat) {
    Standstill round(4, {{state, {}}}, 60'000);
    std::atomic<int> verified{0}, early{0};
    {
      std::vector<std::jthread> shards;
      for (std::uint16_t i = 0; i < 4; ++i) {
        shards.emplace_back([&, i] {
          round.take_part({i}, [&](ArenaId, VerifyReport&) { ++verified; });
          if (verified != 4) ++early;
        });
      }
    }
    EXPECT_TRUE(round.complete());
    EXPECT_EQ(early, 0);
  }
}

}  // namespace
}  // namespace arenad::server
