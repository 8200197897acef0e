// A shard by itself, with a control thread that only notes what it is told.
#include "server/core/shard/shard.h"

#include <gtest/gtest.h>

#include "server/core/api/clock.h"
#include "server/core/api/limits.h"
#include "tests/core/shard_parts.h"
#include "tests/support/sizes.h"

namespace arenad::server {
namespace {

class ShardAlone : public ::testing::Test {
 protected:
  void SetUp() override {
    shared.control = &control;
    ArenaConfig options;
    options.id = {9};
    options.capacity_bytes = 4 * kMiB;
    options.max_heaps = kHeapIds;
    auto made = Arena::create(options);
    ASSERT_TRUE(made.ok());
    state = std::make_shared<ArenaState>(std::move(*made));
    for (Shard* shard : {&zero, &one}) {
      shard->add_arena(state);
      shard->add_session(key.id, key.secret, 0);
      shard->attach(key.id, {9}, AttachMode::kRemote);
    }
  }
  // The answer, when the shard has given one.
  std::shared_ptr<std::optional<Answer<AllocatedBlocks>>> allocate(Shard& shard, std::uint64_t size,
                                                                   std::uint32_t wait_ms = 0) {
    AllocateArgs args;
    args.session = key;
    args.arena_id = {9};
    args.size_bytes = size;
    args.wait_ms = wait_ms;
    auto answer = std::make_shared<std::optional<Answer<AllocatedBlocks>>>();
    shard.allocate(args, [answer](Answer<AllocatedBlocks> a) { answer->emplace(std::move(a)); });
    return answer;
  }
  static std::uint64_t ref(const std::optional<Answer<AllocatedBlocks>>& answer) {
    return (*answer)->blocks[0].ref.value;
  }

  const SessionKey key{{5}, 12345};
  NotingControl control;
  SharedState shared{0};
  std::shared_ptr<ArenaState> state;
  Shard zero{{0}, 2, shared}, one{{1}, 2, shared};
};

TEST_F(ShardAlone, OrdinaryAllocationIsAnsweredInsideTheCall) {
  const auto got = allocate(zero, 64);
  ASSERT_TRUE(got->has_value());
  EXPECT_TRUE((*got)->ok());
  EXPECT_TRUE(control.tickets.empty());
}

TEST_F(ShardAlone, RemoteFreesAreAnnouncedAtTheEndOfTheTurn) {
  const std::uint64_t block = ref(*allocate(zero, 64));
  ASSERT_EQ(one.free(key, {9}, std::vector{block}, FreeScope::kAll)->done, 1u);
  one.end_turn();
  zero.drain({9});
  EXPECT_EQ(zero.facts({9}).heap.drained_blocks, 1u);
  EXPECT_EQ(one.facts({9}).remote_frees_to[0], 1u);
  EXPECT_EQ(control.kicks, std::vector<ArenaId>{ArenaId{9}}) << "of the arena in which it worked";
  EXPECT_EQ(control.returned, 0);  // nobody waits
}

TEST_F(ShardAlone, ParkedRequestFailsOnlyAfterTheRoundThatItAskedFor) {
  const auto all = allocate(zero, 4 * kMiB);
  const auto first = allocate(one, 64), second = allocate(one, 64);
  ASSERT_EQ(control.tickets, (std::vector<std::uint64_t>{1, 2}));
  EXPECT_EQ(state->waiting, 2u);
  EXPECT_FALSE(first->has_value());
  UsageSummary usage;
  usage.biggest_holders = "session 5 'x' 4 MiB in 1 blocks";
  one.trim_round({9}, 1, usage);
  ASSERT_TRUE(first->has_value());
  EXPECT_EQ((*first)->error().error, Error::kArenaFull);
  EXPECT_NE((*first)->error().message.find(usage.biggest_holders), std::string::npos);
  EXPECT_FALSE(second->has_value());
  ASSERT_EQ(zero.free(key, {9}, std::vector{ref(*all)}, FreeScope::kAll)->done, 1u);
  one.trim_round({9}, 2, usage);
  ASSERT_TRUE(second->has_value());
  EXPECT_TRUE((*second)->ok());
  EXPECT_EQ(state->waiting, 0u);
}

TEST_F(ShardAlone, FreeWhileSomebodyWaitsIsToldToTheControlThread) {
  const auto all = allocate(zero, 4 * kMiB);
  const auto waiting = allocate(one, 64, 60'000);
  zero.end_turn();
  EXPECT_EQ(control.returned, 0);
  ASSERT_EQ(zero.free(key, {9}, std::vector{ref(*all)}, FreeScope::kAll)->done, 1u);
  zero.end_turn();
  EXPECT_EQ(control.returned, 1);
  EXPECT_FALSE(waiting->has_value());
  one.trim_round({9}, 0, {});
  ASSERT_TRUE(waiting->has_value());
  EXPECT_TRUE((*waiting)->ok());
}

TEST_F(ShardAlone, TickComesWhenAWaitIsOver) {
  const auto all = allocate(zero, 4 * kMiB);
  const std::uint64_t before = now_ns();
  zero.tick(before);
  const auto waiting = allocate(zero, 64, 5);
  const std::uint64_t next = zero.tick(before);  // earlier than what the tick before said
  EXPECT_LE(next, now_ns() + 5 * kNsPerMs);
  zero.tick(next);
  zero.tick(now_ns() + 5 * kNsPerMs);
  ASSERT_TRUE(waiting->has_value());
  EXPECT_EQ((*waiting)->error().error, Error::kWaitExpired);
}

TEST_F(ShardAlone, IdleTickDrainsAtItsIntervalAndNotBefore) {
  const std::uint64_t block = ref(*allocate(zero, 64));
  ASSERT_EQ(one.free(key, {9}, std::vector{block}, FreeScope::kAll)->done, 1u);
  one.end_turn();
  const std::uint64_t start = now_ns();
  const std::uint64_t next = zero.tick(start);
  EXPECT_EQ(next, start + 100 * kNsPerMs);
  EXPECT_EQ(zero.facts({9}).heap.drained_blocks, 1u);
  EXPECT_EQ(zero.tick(next - 1), next);
  EXPECT_EQ(zero.facts({9}).idle_drains, 1u);
  EXPECT_EQ(zero.tick(next), next + 100 * kNsPerMs);
  EXPECT_EQ(zero.facts({9}).idle_drains, 2u);
}

TEST_F(ShardAlone, QuarantinedArenaRefusesAllocationsAndTakesFrees) {
  const std::uint64_t block = ref(*allocate(zero, 64));
  state->arena->quarantine("slab 3 has no owner");
  // The magazine may still serve: the fast path asks nobody. A size that needs a new slab does.
  const auto refused = allocate(zero, 50'000);
  ASSERT_TRUE(refused->has_value());
  EXPECT_EQ((*refused)->error().error, Error::kQuarantined);
  EXPECT_NE((*refused)->error().message.find("slab 3 has no owner"), std::string::npos)
      << (*refused)->error().message;
  EXPECT_EQ(zero.free(key, {9}, std::vector{block}, FreeScope::kAll)->done, 1u);
}

TEST_F(ShardAlone, CallbackOfAServedWaiterMayAllocateAgain) {
  const auto all = allocate(zero, 4 * kMiB);
  AllocateArgs args;
  args.session = key;
  args.arena_id = {9};
  args.size_bytes = 2 * kMiB;
  args.wait_ms = 60'000;
  int served = 0;
  zero.allocate(args, [&](Answer<AllocatedBlocks> first) {
    EXPECT_TRUE(first.ok());
    ++served;
    zero.allocate(args, [&](Answer<AllocatedBlocks> second) {
      EXPECT_TRUE(second.ok());
      ++served;
      zero.allocate(args, [&](Answer<AllocatedBlocks> third) {
        EXPECT_EQ(third.error().error, Error::kDraining);
        ++served;
      });
    });
  });
  ASSERT_EQ(zero.free(key, {9}, std::vector{ref(*all)}, FreeScope::kAll)->done, 1u);
  zero.end_turn();
  EXPECT_EQ(served, 2);
  EXPECT_EQ(state->waiting, 1u);
  zero.fail_parked(Error::kDraining);
  EXPECT_EQ(served, 3);
  EXPECT_EQ(state->waiting, 0u);
}

// A dead peer's million blocks must not keep the calls of others waiting.
TEST_F(ShardAlone, AdoptionGoesStepByStepThroughTheInbox) {
  const RunShape run = state->arena->geometry().slab_shape({0});
  std::vector<SlabIndex> runs;
  for (int i = 0; i < 20; ++i)
    runs.push_back(*state->arena->grant({20}, RunOwner::leased_to({77}), run, {0}));
  for (const SlabIndex slab : runs) {
    state->arena->control().slab(slab).carved.store(100);
    for (std::uint32_t b = 0; b < 100; ++b)
      state->arena->word(Slot::of(slab, {b})).store(BlockWord::held(0, {{77}, 0}));
  }
  ReapResult result;
  bool over = false;
  zero.adopt(state, {77}, {}, runs, [&](const ReapResult& r) {
    result = r;
    over = true;
  });
  int steps = 1;
  for (; !over; ++steps) {
    int between = 0;
    zero.post([&] { ++between; });
    zero.run_inbox();
    EXPECT_EQ(between, 1);
    ASSERT_LT(steps, 100);
  }
  EXPECT_EQ(steps, 3);  // 8 slabs of 8192 blocks at a time
  EXPECT_EQ(result.blocks, 2000u);
  EXPECT_EQ(result.adopted_slabs, 20u);
  EXPECT_EQ(state->arena->units().taken_units(), 0u);
}

TEST_F(ShardAlone, AdoptionForAnArenaThatWasDeletedLeavesTheNextOneAlone) {
  const RunShape run = state->arena->geometry().slab_shape({0});
  std::vector<SlabIndex> runs;
  for (int i = 0; i < 20; ++i)
    runs.push_back(*state->arena->grant({20}, RunOwner::leased_to({77}), run, {0}));
  bool over = false;
  zero.adopt(state, {77}, {}, runs, [&](const ReapResult& result) {
    EXPECT_EQ(result.adopted_slabs, 8u);  // what the first step did
    over = true;
  });
  zero.remove_arena({9});
  ArenaConfig options;
  options.id = {9};
  options.capacity_bytes = 4 * kMiB;
  const auto next = std::make_shared<ArenaState>(std::move(*Arena::create(options)));
  for (int i = 0; i < 20; ++i)
    ASSERT_TRUE(next->arena->grant({20}, RunOwner::leased_to({77}), run, {0}).ok());
  zero.add_arena(next);
  zero.run_inbox();
  EXPECT_TRUE(over);
  EXPECT_EQ(next->arena->units().taken_units(), 20u);
}

TEST_F(ShardAlone, ReturnedSlabsAreToldToThoseWhoWait) {
  for (Shard* shard : {&zero, &one}) shard->attach(key.id, {9}, AttachMode::kPeer);
  state->lease_epochs.begin(key.id, {});
  const auto heap = zero.open_heap({key, {9}, {}});
  ASSERT_TRUE(heap.ok());
  std::vector<SlabIndex> slabs;
  zero.lease_slabs({key, {9}, {}, *heap, {0}, 64, 0, 0}, [&](Answer<LeasedSlabs> got) {
    ASSERT_TRUE(got.ok());
    slabs = got->slabs;
  });
  ASSERT_EQ(slabs.size(), 64u);
  const auto waiting = allocate(one, 64, 60'000);
  ASSERT_FALSE(waiting->has_value());
  EXPECT_EQ(zero.return_slabs({key, {9}, {}}, slabs)->returned, 64u);
  EXPECT_EQ(control.returned, 0);
  zero.end_turn();
  EXPECT_EQ(control.returned, 1);
  one.retry_parked({9});
  EXPECT_TRUE(waiting->has_value() && (*waiting)->ok());
}

}  // namespace
}  // namespace arenad::server
