// The end of a shard's turn.
#include "server/core/shard/turn.h"

#include "tests/core/shard_parts.h"

namespace arenad::server {
namespace {

class Turns : public ShardParts {
 protected:
  Ref allocated_by_zero() { return zero.slot().heap.allocate(64, {alice.id, 0})->ref; }
};

TEST_F(Turns, TurnWithoutWorkHasNoEnd) {
  EXPECT_FALSE(zero.turn.end([](ArenaSlot&) { ADD_FAILURE(); }));
}

TEST_F(Turns, GatheredFreesArePublishedAtTheEnd) {
  const Ref block = allocated_by_zero();
  ASSERT_EQ(one.slot().heap.free_checked({block.value}, alice.id, kNoSession).error, Error::kNone);
  one.turn.worked_in(one.slot());
  EXPECT_TRUE(one.slot().heap.has_unpublished());
  EXPECT_TRUE(one.turn.end([](ArenaSlot&) { ADD_FAILURE() << "nothing was said to be freed"; }));
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
  EXPECT_TRUE(one.turn.end(count));
  EXPECT_FALSE(one.turn.end(count));
  EXPECT_EQ(said, 1);
}

TEST_F(Turns, WorkOfACallbackStaysForTheNextTurn) {
  zero.turn.freed_in(zero.slot());
  EXPECT_TRUE(zero.turn.end([&](ArenaSlot& slot) { zero.turn.worked_in(slot); }));
  EXPECT_TRUE(zero.turn.end([](ArenaSlot&) {}));
  EXPECT_FALSE(zero.turn.end([](ArenaSlot&) {}));
}

TEST_F(Turns, DeletedArenaIsForgotten) {
  zero.turn.worked_in(zero.slot());
  zero.turn.forget(zero.slot());
  EXPECT_FALSE(zero.turn.end([](ArenaSlot&) {}));
}

}  // namespace
}  // namespace arenad::server
