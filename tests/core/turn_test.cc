// The end of a shard's turn.
#include "server/core/shard/turn.h"

#include "tests/core/shard_parts.h"

namespace arenad::server {
namespace {

class Turns : public ShardParts {
 protected:
  static std::vector<ArenaSlot*> slots_in(const Turn& turn) {
    std::vector<ArenaSlot*> slots;
    turn.for_each([&slots](ArenaSlot& slot) { slots.push_back(&slot); });
    return slots;
  }
  Ref allocated_by_zero() { return zero.slot().heap.allocate(64, {alice.id, 0})->ref; }
};

TEST_F(Turns, TurnWithoutWorkHasNoEnd) {
  zero.turn.for_each([](ArenaSlot&) { ADD_FAILURE(); });
  zero.turn.end([](ArenaSlot&) { ADD_FAILURE(); });
}

TEST_F(Turns, KnowsTheArenasInWhichTheShardHasWorkedUntilItsEnd) {
  zero.turn.worked_in(zero.slot());
  zero.turn.freed_in(zero.slot());
  EXPECT_EQ(slots_in(zero.turn), std::vector{&zero.slot()});
  zero.turn.end([](ArenaSlot&) {});
  EXPECT_TRUE(slots_in(zero.turn).empty());
}

TEST_F(Turns, GatheredFreesArePublishedAtTheEnd) {
  const Ref block = allocated_by_zero();
  ASSERT_EQ(one.slot().heap.free_checked({block.value}, alice.id, kNoSession).error, Error::kNone);
  one.turn.worked_in(one.slot());
  EXPECT_TRUE(one.slot().heap.has_unpublished());
  one.turn.end([](ArenaSlot&) { ADD_FAILURE() << "nothing was said to be freed"; });
  EXPECT_FALSE(one.slot().heap.has_unpublished());
  EXPECT_TRUE(zero.slot().heap.has_pending());
}

TEST_F(Turns, MemoryThatCameBackIsSaidOnceAndAfterItIsPublished) {
  const Ref block = allocated_by_zero();
  ASSERT_EQ(one.slot().heap.free_checked({block.value}, alice.id, kNoSession).error, Error::kNone);
  one.turn.freed_in(one.slot());
  one.turn.freed_in(one.slot());
  int said = 0;
  const auto count = [&](ArenaSlot& slot) {
    EXPECT_FALSE(slot.heap.has_unpublished());
    ++said;
  };
  one.turn.end(count);
  one.turn.end(count);
  EXPECT_EQ(said, 1);
}

TEST_F(Turns, WorkOfACallbackStaysForTheNextTurn) {
  zero.turn.freed_in(zero.slot());
  zero.turn.end([&](ArenaSlot& slot) { zero.turn.worked_in(slot); });
  EXPECT_EQ(slots_in(zero.turn).size(), 1u);
}

TEST_F(Turns, DeletedArenaIsForgotten) {
  zero.turn.worked_in(zero.slot());
  zero.turn.forget(zero.slot());
  EXPECT_TRUE(slots_in(zero.turn).empty());
}

}  // namespace
}  // namespace arenad::server
