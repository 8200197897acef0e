// Who pays for blocks that were taken over, or that an ended session has left with others.
#include "server/core/shard/payer_changes.h"

#include "server/core/shard/allocate_call.h"
#include "server/core/shard/block_calls.h"
#include "tests/core/shard_parts.h"

namespace arenad::server {
namespace {

constexpr std::uint64_t kStride = 64;
constexpr SessionId kHeir{9};

class PayerChangesTest : public ShardParts {
 protected:
  PayerChangesTest() : ShardParts(AttachMode::kRemote, 1 << 20) {
    attach(bob, AttachMode::kRemote);
    shared.account.open(kHeir, 0);
  }
  // Blocks of shard zero's heap.
  std::vector<std::uint64_t> allocate(SessionKey key, std::uint32_t count) {
    AllocatedBlocks out;
    EXPECT_EQ(allocating.attempt(zero.access(key), wants(key, kStride, count), out), Error::kNone);
    std::vector<std::uint64_t> refs;
    for (const Allocation& block : out.blocks) refs.push_back(block.ref.value);
    return refs;
  }
  void expect_charged(std::uint64_t alices, std::uint64_t bobs) {
    EXPECT_EQ(charged(alice), alices * kStride);
    EXPECT_EQ(charged(bob), bobs * kStride);
  }

  AllocateCall allocating{zero.tables, zero.account, zero.turn};
  BlockCalls on_zero{zero.tables, zero.account, zero.payer_changes, zero.turn, shared};
  BlockCalls on_one{one.tables, one.account, one.payer_changes, one.turn, shared};
};

TEST_F(PayerChangesTest, OwnersShardHearsWhoHasTakenABlockOver) {
  const auto refs = allocate(alice, 3);
  ASSERT_EQ(on_one.acquire(bob, arena, std::vector{refs[0], refs[2]}, 0)->done, 2u);
  expect_charged(3, 2);  // the message is on its way
  EXPECT_EQ(zero.inbox.run(), 1u) << "one message for a call";
  expect_charged(1, 2);
  ASSERT_EQ(on_zero.free(alice, arena, refs, FreeScope::kAll)->done, 3u);
  expect_charged(0, 0);
}

TEST_F(PayerChangesTest, WhoHasTheBlockNoMoreWhenTheMessageComesDoesNotPay) {
  const auto refs = allocate(alice, 2);
  ASSERT_EQ(on_one.acquire(bob, arena, refs, 0)->done, 2u);
  ASSERT_EQ(on_zero.free(bob, arena, std::vector{refs[0]}, FreeScope::kAll)->done, 1u);
  ASSERT_EQ(on_zero.acquire(alice, arena, std::vector{refs[1]}, 0)->done, 1u);
  const auto again = allocate(alice, 1);  // the first block, in its next life
  zero.inbox.run();
  expect_charged(2, 0);
  ASSERT_EQ(on_zero.free(alice, arena, std::vector{refs[1], again[0]}, FreeScope::kAll)->done, 2u);
  expect_charged(0, 0);
}

TEST_F(PayerChangesTest, BlockThatIsHomeByThenIsPaidForByNobody) {
  const auto refs = allocate(alice, 1);
  ASSERT_EQ(on_one.acquire(bob, arena, refs, 0)->done, 1u);
  ASSERT_EQ(on_one.free(bob, arena, refs, FreeScope::kAll)->done, 1u);
  one.slot().heap.publish();
  zero.slot().heap.drain();
  zero.slot().heap.trim();  // the slab is gone, too
  zero.account.settle(zero.slot());
  zero.inbox.run();
  expect_charged(0, 0);
}

TEST_F(PayerChangesTest, NobodyPaysWhenTheArenaIsDeletedMeanwhile) {
  const auto refs = allocate(alice, 1);
  ASSERT_EQ(on_one.acquire(bob, arena, refs, 0)->done, 1u);
  const auto gone = zero.tables.remove_arena(arena);
  gone->heap.forgive_payments();
  zero.account.settle(*gone);
  zero.tables.add_arena(make_arena_state(arena));
  zero.inbox.run();
  expect_charged(0, 0);
}

TEST_F(PayerChangesTest, LeasedBlockIsPaidForByItsLesseeWhoeverTakesItOver) {
  const RunShape shape = state->arena->geometry().span_shape(1);
  const SlabIndex run = *state->arena->grant({300}, RunOwner::leased_to(alice.id), shape, {0});
  state->arena->control().slab(run).shape.store(SlabShape::of(shape).bits);
  state->arena->control().slab(run).carved.store(1);
  const Slot slot = Slot::of(run, {0});
  state->arena->word(slot).store(BlockWord::held(0, {alice.id, 0}));
  const Ref ref = RefLayout::ref_of(state->arena->refs().entry_of(slot), 0);
  ASSERT_EQ(on_zero.acquire(bob, arena, std::vector{ref.value}, 0)->done, 1u);
  expect_charged(0, 0);
}

TEST_F(PayerChangesTest, HeirPaysForWhatIsLeftAndForNothingElse) {
  const auto left = allocate(alice, 3), others = allocate(bob, 2);
  Footprint where(state->arena->unit_count());
  bool done = false;
  const auto pass_on = [&] {
    zero.payer_changes.pass_on(state, std::make_shared<const Footprint>(where), alice.id, kHeir,
                               [&done] { done = true; });
  };
  pass_on();
  EXPECT_TRUE(done);
  expect_charged(3, 2);  // nothing is where the shard did not look
  where.add_all();
  pass_on();
  expect_charged(0, 2);
  EXPECT_EQ(shared.account.charged_bytes(kHeir), 3 * kStride);
  ASSERT_EQ(on_zero.free(bob, arena, left, FreeScope::kAll)->done, 3u);
  ASSERT_EQ(on_zero.free(bob, arena, others, FreeScope::kAll)->done, 2u);
  expect_charged(0, 0);
  EXPECT_EQ(shared.account.charged_bytes(kHeir), 0u);
}

TEST_F(PayerChangesTest, ManySlabsArePassedOnInSteps) {
  for (int i = 0; i < 60 * 1024; ++i)  // 60 slabs
    ASSERT_TRUE(zero.slot().heap.allocate_aligned(kStride, 0, {alice.id, 0}).ok());
  zero.account.settle(zero.slot());
  const std::uint64_t all = charged(alice);
  Footprint where(state->arena->unit_count());
  where.add_all();
  bool done = false;
  zero.payer_changes.pass_on(state, std::make_shared<const Footprint>(where), alice.id, kHeir,
                             [&done] { done = true; });
  EXPECT_FALSE(done);
  EXPECT_GT(charged(alice), 0u);
  while (!done) ASSERT_GT(zero.inbox.run(), 0u);
  expect_charged(0, 0);
  EXPECT_EQ(shared.account.charged_bytes(kHeir), all);
}

}  // namespace
}  // namespace arenad::server
