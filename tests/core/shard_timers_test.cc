// When a shard's loop looks at its timers, and the idle drain.
#include "server/core/api/clock.h"
#include "server/core/shard/alarm.h"
#include "server/core/shard/idle_drain.h"
#include "tests/core/shard_parts.h"

namespace arenad::server {
namespace {

struct WakeCount final : Waker {
  void wake() override { ++wakes; }
  int wakes = 0;
};

TEST(Alarm, WakesTheLoopOnlyForAnEarlierTime) {
  WakeCount waker;
  Inbox inbox;
  inbox.set_waker(&waker);
  Alarm alarm(inbox);
  alarm.set(1000);
  alarm.ring_by(2000);
  EXPECT_EQ(waker.wakes, 0);
  alarm.ring_by(500);
  EXPECT_EQ(waker.wakes, 1);
  EXPECT_EQ(alarm.next_ns(), 500u);
  EXPECT_FALSE(alarm.due(499));
  EXPECT_TRUE(alarm.due(500));
}

class IdleDrains : public ShardParts {
 protected:
  IdleDrain idle{zero.tables, zero.account, shared.tunables};
};

TEST_F(IdleDrains, DrainsOnTheTunablesPeriodAndNotBefore) {
  shared.tunables.idle_drain_ms = 100;
  const std::uint64_t start = 1'000'000 * kNsPerMs;
  EXPECT_EQ(idle.tick(start), start + 100 * kNsPerMs);
  EXPECT_EQ(idle.count(), 1u);
  EXPECT_EQ(idle.tick(start + 99 * kNsPerMs), start + 100 * kNsPerMs);
  EXPECT_EQ(idle.count(), 1u);
  idle.tick(start + 100 * kNsPerMs);
  EXPECT_EQ(idle.count(), 2u);
  idle.restart();
  idle.tick(start + 101 * kNsPerMs);
  EXPECT_EQ(idle.count(), 3u);
}

TEST_F(IdleDrains, TakesBackWhatOthersFreed) {
  const Ref block = zero.slot().heap.allocate(64, {alice.id, 0})->ref;
  ASSERT_EQ(one.slot().heap.free_checked({block.value}, alice.id, kNoSession).error, Error::kNone);
  one.slot().heap.publish();
  ASSERT_TRUE(zero.slot().heap.has_pending());
  idle.tick(1);
  EXPECT_FALSE(zero.slot().heap.has_pending());
}

TEST_F(IdleDrains, HeapsWithoutSlabsAreNotLookedAt) {
  const auto looked_at = [this] {
    int heaps = 0;
    zero.tables.for_arenas_in_use([&heaps](ArenaSlot&) { ++heaps; });
    return heaps;
  };
  zero.tables.add_arena(make_arena_state({10}));
  EXPECT_EQ(looked_at(), 0);
  Heap& heap = zero.slot().heap;
  for (int round = 0; round < 2; ++round) {  // a heap that had slabs may have some again
    const Ref block = heap.allocate(64, {alice.id, 0})->ref;
    EXPECT_EQ(looked_at(), 1);
    ASSERT_EQ(heap.free_checked({block.value}, alice.id, kNoSession).error, Error::kNone);
    idle.restart();
    idle.tick(1);  // the class was used since the tick before
    idle.restart();
    idle.tick(2);
    EXPECT_TRUE(heap.slabs().all().empty());
    EXPECT_EQ(looked_at(), 0);
  }
  ASSERT_TRUE(heap.allocate(64, {alice.id, 0}).ok());
  zero.tables.remove_arena(arena);
  EXPECT_EQ(looked_at(), 0);
}

TEST_F(IdleDrains, ShardWithoutArenasSleepsLong) {
  zero.tables.remove_arena(arena);
  EXPECT_EQ(idle.tick(5), 5 + 1000 * kNsPerMs);
  EXPECT_EQ(idle.count(), 0u);
}

}  // namespace
}  // namespace arenad::server
