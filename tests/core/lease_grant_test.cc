// Leases on one shard: granted, returned, resumed.
#include "server/core/shard/lease_grant.h"

#include "server/core/shard/lease_returns.h"
#include "tests/core/shard_parts.h"
#include "tests/support/sizes.h"
#include "tests/support/text.h"

namespace arenad::server {
namespace {

class LeaseParts : public ShardParts {
 protected:
  LeaseParts() : ShardParts(AttachMode::kPeer, 8 * kUnit) {
    attach(bob, AttachMode::kPeer);
    heap = *granting.open_heap({alice, arena, {}});
  }
  LeaseArgs args(std::uint32_t count) {
    LeaseArgs a;
    a.session = alice;
    a.arena_id = arena;
    a.heap_id = heap;
    a.size_class = state->arena->geometry().class_of(64);
    a.count = count;
    return a;
  }
  std::vector<SlabIndex> lease(std::uint32_t count) {
    LeasedSlabs out;
    EXPECT_EQ(granting.attempt(zero.access(alice), args(count), out), Error::kNone);
    EXPECT_EQ(out.slabs.size(), count);
    return out.slabs;
  }

  LeaseGrant granting{zero.tables, zero.account, zero.turn, shared};
  LeaseReturns leases{zero.tables, zero.account, zero.turn};
  HeapId heap;
};

TEST_F(LeaseParts, LeasedRunsAreChargedWholeUntilTheyAreReturned) {
  const auto slabs = lease(3);
  EXPECT_EQ(charged(alice), 3 * kUnit);
  EXPECT_EQ(leases.return_slabs({alice, arena, {}}, slabs)->returned, 3u);
  EXPECT_EQ(charged(alice), 0u);
  EXPECT_EQ(state->arena->units().taken_units(), 0u);
}

TEST_F(LeaseParts, LeaseStopsAtTheLimitAndOneSlabIsEnoughForAnAnswer) {
  lease(7);
  LeasedSlabs out;
  ASSERT_EQ(granting.attempt(zero.access(alice), args(5), out), Error::kNone);
  EXPECT_EQ(out.slabs.size(), 1u);
  LeasedSlabs none;
  EXPECT_EQ(granting.attempt(zero.access(alice), args(1), none), Error::kQuotaSession);
}

TEST_F(LeaseParts, HeapOfAnotherSessionIsRefused) {
  LeaseArgs a = args(1);
  a.session = bob;
  EXPECT_EQ(granting.check(a, zero.slot()).error, Error::kInvalidOption);
  a = args(1);
  a.heap_id = kNoHeap;
  EXPECT_EQ(granting.check(a, zero.slot()).error, Error::kInvalidOption);
}

TEST_F(LeaseParts, SlabThatIsNotTheSessionsIsRefusedAndStays) {
  const auto slabs = lease(1);
  const auto answer =
      leases.return_slabs({bob, arena, {}}, std::vector<SlabIndex>{slabs[0], {1 << 20}});
  EXPECT_EQ(answer->returned, 0u);
  EXPECT_EQ(answer->refused.size(), 2u);
  EXPECT_EQ(charged(alice), kUnit);
}

TEST_F(LeaseParts, ReturnedRunWithBlocksOutIsAdoptedAndTheBlocksAreCharged) {
  const auto slabs = lease(1);
  const Slot slot = Slot::of(slabs[0], {0});
  state->arena->control().slab(slabs[0]).carved.store(1);
  state->arena->word(slot).store(BlockWord::held(0, {alice.id, 0}));
  EXPECT_EQ(leases.return_slabs({alice, arena, {}}, slabs)->returned, 1u);
  EXPECT_EQ(charged(alice), 64u);
  EXPECT_EQ(zero.slot().heap.counters().adopted_slabs, 1u);
  EXPECT_TRUE(zero.access(alice).attached->footprint.has(slabs[0]));
}

TEST_F(LeaseParts, ResumeTakesBackLeasesAndHeapsThatThePeerDoesNotName) {
  const auto slabs = lease(2);
  const HeapId lost = *granting.open_heap({alice, arena, {}});
  ResumeArgs knows;
  knows.slabs = {slabs[0], {63}};
  knows.heaps = {heap};
  const auto answer = leases.resume({alice, arena, {1}}, knows);
  ASSERT_TRUE(answer.ok()) << answer.error().message;
  EXPECT_EQ(answer->taken_back, 1u);
  EXPECT_EQ(answer->unknown, (std::vector<SlabIndex>{{63}}));
  EXPECT_EQ(charged(alice), kUnit);
  EXPECT_EQ(state->arena->ledger().heap_owner(lost), kNoSession);
  EXPECT_EQ(state->arena->ledger().heap_owner(heap), alice.id);
}

// A client's thread that was stopped in the middle of a call may send it to a restarted daemon.
TEST_F(LeaseParts, AfterARestartNothingButAResumeIsOfThePresent) {
  const SessionKey carol{{7}, 99};  // as recovery attaches sessions: no epoch has begun
  zero.attach(carol, AttachMode::kPeer);
  shared.account.open(carol.id, 0);
  LeaseArgs a = args(1);
  a.session = carol;
  for (const std::uint64_t epoch : {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0}}) {
    const LeaseCaller caller{carol, arena, {epoch}};
    a.epoch = {epoch};
    LeasedSlabs out;
    EXPECT_EQ(granting.attempt(zero.access(carol), a, out), Error::kStaleEpoch);
    EXPECT_EQ(granting.open_heap(caller).error().error, Error::kStaleEpoch);
    const auto returned = leases.return_slabs(caller, {});
    EXPECT_EQ(returned.error().error, Error::kStaleEpoch);
    EXPECT_TRUE(has(returned.error().message, "has not resumed since the daemon started"))
        << returned.error().message;
  }
  ResumeArgs later_part;
  later_part.first_unit = 32;
  EXPECT_EQ(leases.resume({carol, arena, {0}}, later_part).error().error, Error::kStaleEpoch);
  for (const std::uint64_t not_above : {std::uint64_t{0}, ~std::uint64_t{0}})
    EXPECT_EQ(leases.resume({carol, arena, {not_above}}, {}).error().error, Error::kStaleEpoch);
  EXPECT_TRUE(leases.resume({carol, arena, {3}}, {}).ok());
  EXPECT_TRUE(granting.open_heap({carol, arena, {3}}).ok());
}

TEST_F(LeaseParts, ResumeWithAHeapOfAnotherSessionChangesNothing) {
  lease(1);
  const HeapId theirs = *granting.open_heap({bob, arena, {}});
  ResumeArgs knows;
  knows.heaps = {theirs};
  const auto answer = leases.resume({alice, arena, {1}}, knows);
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error().error, Error::kInvalidOption);
  EXPECT_EQ(charged(alice), kUnit);
  EXPECT_TRUE(granting.open_heap({alice, arena, {}}).ok()) << "the epoch is the old one";
}

}  // namespace
}  // namespace arenad::server
