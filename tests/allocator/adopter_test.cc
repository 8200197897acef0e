// Adopter: what becomes of each word of an adopted run, and what is done when its header lies.
#include "allocator/heap/adopter.h"

#include <gtest/gtest.h>

#include <array>
#include <memory>

#include "allocator/arena/session_set.h"
#include "allocator/heap/slab_table.h"
#include "tests/allocator/arena_fixture.h"
#include "tests/support/refs.h"

namespace arenad {
namespace {

constexpr SessionId kDead{40};
constexpr SessionId kLiving{41};
constexpr SessionId kHeir{42};
constexpr ClassId kClass{5};
constexpr HeapId kDeadsHeap{7};

// A run of 64-byte blocks that is leased to kDead, with ten carved blocks, and the parts of heap 1,
// which adopts it.
class AdopterTest : public ArenaWithHeaps {
 protected:
  void lease(HeapUse use = HeapUse::kOwnProcess) {
    broken_on_purpose_ = true;  // heap 1 is no Heap, so verify would miss it
    make(4 * kMiB, 0);
    const auto granted = arena().grant(kDeadsHeap, RunOwner::leased_to(kDead),
                                       arena().geometry().slab_shape(kClass), {0});
    ASSERT_TRUE(granted.ok());
    first = *granted;
    control().slab(first).carved = 10;
    rows = std::make_unique<RowTables>(arena().id(), std::uint64_t{2} << 18);
    for (Magazine& m : magazines) m.capacity = 8;
    slabs = std::make_unique<SlabTable>(arena().geometry(), arena().unit_count(), HeapId{1},
                                        arena().source(), *rows, magazines, counters, use);
  }
  AtomicWord& block(std::uint32_t b) { return arena().word(Slot::of(first, {b})); }
  void hold(std::uint32_t b, SessionId session) {
    block(b) = BlockWord::held(block(b).load(), Holder(session, 0));
  }
  ReapResult adopt(PaidBy paid_by = {}) {
    ReapResult result;
    Adopter(arena(), {1}, *slabs, counters).adopt(first, kDead, result, paid_by);
    return result;
  }
  // Who pays for a block of the adopted run.
  SessionId payer(std::uint32_t b) { return slabs->find(first)->away->payer({b}); }

  SlabIndex first;
  std::array<Magazine, kMaxClasses> magazines;
  HeapCounters counters;
  std::unique_ptr<RowTables> rows;
  std::unique_ptr<SlabTable> slabs;
};

TEST_F(AdopterTest, DeadsAndReturningBlocksComeHomeAndOthersStayOut) {
  lease();
  hold(0, kDead);
  hold(1, kLiving);
  block(2) = BlockWord::returning(BlockWord::held(block(2).load(), Holder(kDead, 0)), kLiving,
                                  kSmallRefs.step());
  const ReapResult result = adopt();
  EXPECT_EQ(result.blocks, 1u);
  EXPECT_EQ(result.bytes, arena().geometry().size_class(kClass).stride_bytes);
  EXPECT_EQ(result.adopted_slabs, 1u);
  const SlabState* const slab = slabs->find(first);
  ASSERT_NE(slab, nullptr);
  EXPECT_EQ(slab->carved, 10u);
  EXPECT_EQ(slab->out(), 1u);
  EXPECT_TRUE(BlockWord(block(0).load()).is_free());
  EXPECT_TRUE(BlockWord(block(1).load()).is_held());
  EXPECT_TRUE(BlockWord(block(2).load()).is_free());
  EXPECT_EQ(slabs->active_blocks(), 1u);
  EXPECT_EQ(slabs->next_with_blocks(kClass), slab);
  EXPECT_EQ(counters.adopted_blocks, 1u);
  EXPECT_EQ(control().slab(first).owner.load(), 1u);
  EXPECT_EQ(arena().ledger().run(first).owner().heap_id(), HeapId{1});
}

TEST_F(AdopterTest, WhoIsNamedPaysForWhatStaysOutWhateverTheWordsSay) {
  lease(HeapUse::kServesOthers);
  hold(0, kDead);
  hold(1, kLiving);
  hold(2, SessionId{77});
  adopt({kHeir});
  EXPECT_EQ(payer(1), kHeir);
  EXPECT_EQ(payer(2), kHeir);
  std::int64_t charged = 0;
  slabs->payments().take([&](SessionId payer, std::int64_t bytes) {
    EXPECT_EQ(payer, kHeir);
    charged += bytes;
  });
  EXPECT_EQ(charged, 2 * std::int64_t{arena().geometry().size_class(kClass).stride_bytes});
}

TEST_F(AdopterTest, AfterARestartTheHolderPaysIfItIsAttached) {
  lease(HeapUse::kServesOthers);
  hold(1, kLiving);
  hold(2, SessionId{77});
  arena().control().sharers().sessions[5] = kLiving.value;
  block(3) = BlockWord::shared(block(3).load(), 1 << 5);
  SessionSet attached;
  attached.insert(kLiving);
  adopt({kNoSession, &attached});
  EXPECT_EQ(payer(1), kLiving);
  EXPECT_EQ(payer(2), kNoSession) << "it may be forged";
  EXPECT_EQ(payer(3), kLiving);
}

TEST_F(AdopterTest, RunOfWhichNothingIsOutGoesBackAtOnce) {
  lease();
  hold(3, kDead);
  EXPECT_EQ(adopt().blocks, 1u);
  EXPECT_EQ(slabs->find(first), nullptr);
  EXPECT_FALSE(arena().ledger().run(first));
  EXPECT_EQ(arena().units().taken_units(), 0u);
}

TEST_F(AdopterTest, SecondAdoptionOfARunDoesNothing) {
  lease();
  hold(1, kLiving);
  EXPECT_EQ(adopt().adopted_slabs, 1u);
  EXPECT_EQ(adopt().adopted_slabs, 0u);
  EXPECT_EQ(counters.adopted_slabs, 1u);
}

TEST_F(AdopterTest, HeaderThatWasNeverWrittenIsWritten) {
  lease();
  hold(1, kLiving);
  const std::uint64_t shape = control().slab(first).shape.load();
  control().slab(first).shape = 0;
  adopt();
  EXPECT_EQ(control().slab(first).shape.load(), shape);
  EXPECT_FALSE(arena().quarantined());
}

TEST_F(AdopterTest, HeaderThatLiesIsPutRightAndQuarantinesTheArena) {
  lease();
  hold(1, kLiving);
  const std::uint64_t shape = control().slab(first).shape.load();
  control().slab(first).shape = shape ^ 0xff;
  adopt();
  EXPECT_EQ(control().slab(first).shape.load(), shape);
  EXPECT_TRUE(arena().quarantined());
}

TEST_F(AdopterTest, BlockInUseBeyondTheCarvedCountQuarantinesAndIsNotLost) {
  lease();
  hold(20, kLiving);
  adopt();
  EXPECT_TRUE(arena().quarantined());
  EXPECT_EQ(slabs->find(first)->carved, 21u);
  EXPECT_EQ(control().slab(first).carved.load(), 21u);
  EXPECT_EQ(slabs->find(first)->out(), 1u);
}

}  // namespace
}  // namespace arenad
