// The predecessor's failure as a test vector: what it printed, what it refused wrongly, and what
// must be refused.
#include <gtest/gtest.h>

#include <vector>

#include "allocator/base/tunables.h"
#include "allocator/format/geometry.h"
#include "allocator/heap/guards.h"

namespace arenad {
namespace {

constexpr std::uint64_t kBase = 0x7efa77010000;
constexpr std::uint64_t kTail = 0x7efa77011e0f;
constexpr std::uint32_t kStride = 513;
constexpr std::uint32_t kBatch = 16;

Geometry predecessor() {
  return Geometry(Layout::headered(), {8, 16, 32, 64, 128, 256, 512, 1024});
}

// Slab 1 of class 6 with `carved` blocks carved, as the trace shows it.
SlabView slab_of_trace(std::uint32_t carved) {
  const SizeClass c = predecessor().size_class({6});
  SlabView v;
  v.cls = {6};
  v.slab = {1};
  v.base = kBase;
  v.slab_bytes = c.slab_units * kSlabUnitBytes;
  v.stride = c.stride_bytes;
  v.capacity = c.capacity;
  v.carved = carved;
  return v;
}

std::vector<std::uint64_t> batch_at(std::uint64_t head) {
  std::vector<std::uint64_t> blocks;
  for (std::uint32_t i = 0; i < kBatch; ++i) blocks.push_back(head + std::uint64_t{i} * kStride);
  return blocks;
}

// What check_splice says to `blocks`; `offender` gets what it names.
GuardVerdict splice(const SlabView& slab, const std::vector<std::uint64_t>& blocks,
                    std::uint64_t* offender) {
  *offender = 0;
  return check_splice(slab, blocks, offender);
}

TEST(Guards, PredecessorsClassSixHasStride513AndCapacity127) {
  const SizeClass c = predecessor().size_class({6});
  EXPECT_EQ(c.usable_bytes, 512u);
  EXPECT_EQ(c.stride_bytes, kStride);
  EXPECT_EQ(c.slab_units, 1u);
  EXPECT_EQ(c.capacity, 127u);
}

TEST(Guards, CarveOfTheTraceIsAccepted) {
  EXPECT_EQ(check_carve(slab_of_trace(0), kBatch), GuardVerdict::kOk);
}

TEST(Guards, SpliceOfTheTraceIsAcceptedThoughItsHeadModuloStrideIs478) {
  ASSERT_EQ(kBase % kStride, 478u) << "the number that misled the predecessor";
  const auto blocks = batch_at(kBase);
  ASSERT_EQ(blocks.back(), kTail);
  std::uint64_t offender;
  EXPECT_EQ(splice(slab_of_trace(kBatch), blocks, &offender), GuardVerdict::kOk);
}

TEST(Guards, EveryBlockOfTheSlabIsAcceptedAndEveryOtherAddressOfItIsNot) {
  const SlabView full = slab_of_trace(127);
  for (std::uint64_t offset = 0; offset < full.slab_bytes; ++offset) {
    const bool is_block = offset % kStride == 0 && offset / kStride < 127;
    ASSERT_EQ(check_block(full, kBase + offset) == GuardVerdict::kOk, is_block)
        << "offset " << offset;
  }
}

TEST(Guards, HeadShiftedByOneByteIsRefusedAsMisaligned) {
  std::uint64_t offender;
  EXPECT_EQ(splice(slab_of_trace(127), batch_at(kBase + 1), &offender), GuardVerdict::kMisaligned);
  EXPECT_EQ(offender, kBase + 1);
  EXPECT_EQ(splice(slab_of_trace(127), batch_at(kBase - 1), &offender), GuardVerdict::kOtherSlab);
}

TEST(Guards, IndexAtOrBeyondCarvedIsRefused) {
  const SlabView slab = slab_of_trace(kBatch);
  EXPECT_EQ(check_block(slab, kTail), GuardVerdict::kOk);
  EXPECT_EQ(check_block(slab, kTail + kStride), GuardVerdict::kBeyondCarved);
  EXPECT_EQ(check_block(slab, kBase + 100 * kStride), GuardVerdict::kBeyondCarved);
  std::uint64_t offender;
  EXPECT_EQ(splice(slab, batch_at(kBase + kStride), &offender), GuardVerdict::kBeyondCarved);
  EXPECT_EQ(offender, kTail + kStride);
}

TEST(Guards, BlockOfAnotherSlabIsRefused) {
  auto blocks = batch_at(kBase);
  std::uint64_t offender;
  blocks[7] = kBase + kSlabUnitBytes;  // block 0 of the next slab
  EXPECT_EQ(splice(slab_of_trace(127), blocks, &offender), GuardVerdict::kOtherSlab);
  EXPECT_EQ(offender, kBase + kSlabUnitBytes);
  blocks[7] = kBase - kSlabUnitBytes;  // and of the one before
  EXPECT_EQ(splice(slab_of_trace(127), blocks, &offender), GuardVerdict::kOtherSlab);
}

TEST(Guards, SameBlockTwiceInABatchIsRefused) {
  auto blocks = batch_at(kBase);
  blocks[15] = blocks[3];
  std::uint64_t offender;
  EXPECT_EQ(splice(slab_of_trace(127), blocks, &offender), GuardVerdict::kTwiceInBatch);
  EXPECT_EQ(offender, blocks[3]);
}

TEST(Guards, Capacity128IsRefusedEverywhere) {
  SlabView slab = slab_of_trace(kBatch);
  slab.capacity =
      128;  // 65536 / 512: the predecessor's last block ran 128 bytes into the next slab
  ASSERT_EQ(128u * kStride - slab.slab_bytes, 128u);
  EXPECT_EQ(check_slab(slab), GuardVerdict::kBadCapacity);
  EXPECT_EQ(check_carve(slab, kBatch), GuardVerdict::kBadCapacity);
  EXPECT_EQ(check_block(slab, kBase), GuardVerdict::kBadCapacity);
  std::uint64_t offender;
  EXPECT_EQ(splice(slab, batch_at(kBase), &offender), GuardVerdict::kBadCapacity);
}

TEST(Guards, CarvePastTheCapacityIsRefused) {
  EXPECT_EQ(check_carve(slab_of_trace(111), kBatch), GuardVerdict::kOk);
  EXPECT_EQ(check_carve(slab_of_trace(112), kBatch), GuardVerdict::kBeyondCapacity);
  EXPECT_EQ(check_carve(slab_of_trace(127), 1), GuardVerdict::kBeyondCapacity);
  EXPECT_EQ(check_carve(slab_of_trace(0), 0xffffffff), GuardVerdict::kBeyondCapacity);
  EXPECT_EQ(check_slab(slab_of_trace(128)), GuardVerdict::kBeyondCapacity);
}

TEST(Guards, StrideZeroIsRefusedNotDividedBy) {
  SlabView slab = slab_of_trace(kBatch);
  slab.stride = 0;
  EXPECT_EQ(check_block(slab, kBase), GuardVerdict::kBadCapacity);
}

TEST(Guards, LinesCarryThePredecessorsTagsAndFields) {
  SlabView slab = slab_of_trace(0);
  EXPECT_EQ(batch_carve_line(slab, kBatch),
            "[BATCH_CARVE] cls=6 slab=1 used=0 cap=127 batch=16 base=0x7efa77010000 bs=513");
  EXPECT_EQ(linear_carve_line(slab, kBatch),
            "[LINEAR_CARVE] base=0x7efa77010000 carved=0 batch=16 cursor=0x7efa77010000");
  slab.carved = kBatch;
  EXPECT_EQ(linear_carve_line(slab, kBatch),
            "[LINEAR_CARVE] base=0x7efa77010000 carved=16 batch=16 cursor=0x7efa77012010");
  EXPECT_EQ(splice_line(slab, kBase, kTail, kBatch),
            "[SPLICE_TO_SLL] cls=6 head=0x7efa77010000 tail=0x7efa77011e0f count=16");
  EXPECT_EQ(splice_corrupt_line(slab, kBase + 1, GuardVerdict::kMisaligned),
            "[SPLICE_CORRUPT] Chain head 0x7efa77010001 misaligned (blk=513 offset=1 carved=16)!");
}

TEST(Guards, ModeLineSaysWhetherPrivateGuardsAreOn) {
  const bool before = tunables().guards_private.exchange(true);
  EXPECT_EQ(guard_mode_line().find("[TRC_GUARD] failfast=1 env=1 mode="), 0u);
  tunables().guards_private = false;
  EXPECT_EQ(guard_mode_line().find("[TRC_GUARD] failfast=1 env=0 mode="), 0u);
  tunables().guards_private = before;
}

TEST(GuardsDeathTest, AbortPrintsTheSlabTheModeAndTheOffender) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const SlabView slab = slab_of_trace(kBatch);
  EXPECT_DEATH(guard_abort(slab, splice_line(slab, kBase + 1, kTail, kBatch), kBase + 1,
                           GuardVerdict::kMisaligned),
               "SPLICE_TO_SLL.*\n.*TRC_GUARD.*\n.*SPLICE_CORRUPT.*misaligned \\(blk=513 offset=1 "
               "carved=16\\)");
}

}  // namespace
}  // namespace arenad
