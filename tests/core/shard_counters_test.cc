// What a shard says about itself.
#include "server/core/shard/shard_counters.h"

#include "tests/core/shard_parts.h"

namespace arenad::server {
namespace {

class Counters : public ShardParts {
 protected:
  ShardCounters counters{{0}, 2, zero.tables};
};

TEST_F(Counters, CallsTurnsAndMessagesAreCounted) {
  counters.count_call();
  counters.count_turn();
  counters.count_turn();
  counters.count_messages(3);
  const ShardFacts facts = counters.facts(arena, 4);
  EXPECT_EQ(facts.shard, ShardId{0});
  EXPECT_EQ(facts.calls, 1u);
  EXPECT_EQ(facts.loop_turns, 2u);
  EXPECT_EQ(facts.inbox_messages, 3u);
  EXPECT_EQ(facts.idle_drains, 4u);
}

TEST_F(Counters, HeapCountersOfADeletedArenaStayInTheDaemonsSum) {
  ASSERT_TRUE(zero.slot().heap.allocate(64, {alice.id, 0}).ok());
  const std::unique_ptr<ArenaSlot> slot = zero.tables.remove_arena(arena);
  counters.retire(slot->heap);
  EXPECT_EQ(counters.facts(kAllArenas, 0).heap.allocs, 1u);
  EXPECT_EQ(counters.facts(arena, 0).heap.allocs, 0u);
}

TEST_F(Counters, FreesOfAnotherShardsBlocksAreCountedByOwner) {
  const Ref block = one.slot().heap.allocate(64, {alice.id, 0})->ref;
  ASSERT_EQ(zero.slot().heap.free_checked({block.value}, alice.id, kNoSession).error, Error::kNone);
  zero.slot().heap.publish();
  EXPECT_EQ(counters.facts(arena, 0).remote_frees_to, (std::vector<std::uint64_t>{0, 1}));
}

TEST_F(Counters, SharesAreGivenBySessionAndByArena) {
  attach(bob, AttachMode::kRemote);
  zero.account.gave(zero.access(bob), 2, 128);
  EXPECT_EQ(counters.held(arena).blocks, 2);
  EXPECT_EQ(counters.held(kAllArenas).bytes, 128);
  const SharesBySession sessions = counters.held_by_session(arena);
  ASSERT_EQ(sessions.size(), 2u);
  EXPECT_EQ(sessions[0].first, alice.id);
  EXPECT_EQ(sessions[1].second.blocks, 2);
  const SharesByArena arenas = counters.held_by_arena(bob.id);
  ASSERT_EQ(arenas.size(), 1u);
  EXPECT_EQ(arenas[0].second.bytes, 128);
  EXPECT_TRUE(counters.held_by_arena({99}).empty());
}

TEST_F(Counters, ArenaThatCountsFromTheWordsIsLeftOutOfHeld) {
  zero.account.gave(zero.access(alice), 2, 128);
  state->counts_from_words = true;
  EXPECT_EQ(counters.held(kAllArenas).blocks, 0);
}

TEST_F(Counters, UsageHasOneRowForEachUsedClass) {
  ASSERT_TRUE(zero.slot().heap.allocate(64, {alice.id, 0}).ok());
  const UsageByArena rows = counters.usage(arena);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].first, arena);
  EXPECT_EQ(rows[0].second.slabs, 1u);
  EXPECT_TRUE(counters.usage({10}).empty());
}

}  // namespace
}  // namespace arenad::server
