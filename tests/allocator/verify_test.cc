// verify() finds each kind of damage, and says which: a check that finds nothing would pass
// everything.
#include "allocator/check/verify.h"

#include "tests/allocator/arena_fixture.h"
#include "tests/support/refs.h"

namespace arenad {
namespace {

class VerifyTest : public ArenaWithHeaps {
 protected:
  // A heap with held, cached, free, returning and never carved blocks, and a span.
  void SetUp() override {
    broken_on_purpose_ = true;
    make(8 * kMiB, 2);
    held_ = take(400, 256);
    freed_ = {held_.begin() + 300, held_.end()};
    held_.resize(300);
    give(freed_);
    remote_ = {held_.begin() + 250, held_.end()};
    held_.resize(250);
    give(remote_, 1);
    heap(1).publish();
    span_ = take(1, 300000)[0];
    slab_ = slot_of(held_[0].ref).slab();
    ASSERT_TRUE(report().exact()) << findings_of(report());
  }
  void expect_found(const std::string& what) {
    const VerifyReport r = report();
    EXPECT_FALSE(r.exact());
    EXPECT_NE(findings_of(r).find(what), std::string::npos)
        << "looked for: " << what << "\nfound: " << findings_of(r);
  }
  void flip(Ref ref, std::uint64_t to) { word(ref).store(to); }

  std::vector<Allocation> held_, freed_, remote_;
  Allocation span_;
  SlabIndex slab_;
};

TEST_F(VerifyTest, AddsUpToTheCapacity) {
  const VerifyReport r = report();
  EXPECT_EQ(r.held, 251u);
  EXPECT_EQ(r.returning, 50u);
  EXPECT_EQ(r.shared, 0u);
  EXPECT_EQ(r.held + r.shared + r.returning + r.cached + r.free + r.uncarved, r.capacity_blocks);
  EXPECT_GE(r.cached, 100u);
  EXPECT_EQ(r.held_bytes, 250u * 256 + 5 * kSlabUnitBytes);
  EXPECT_EQ(r.counted_out, 301);
  EXPECT_EQ(r.units, arena().units().taken_units());
}

TEST_F(VerifyTest, FindsAHeldWordOfACachedBlock) {
  flip(freed_[0].ref, BlockWord::held(word(freed_[0].ref).load(), kHolder));
  expect_found("is out and in the heap's hands at once (doubled)");
  expect_found("302 blocks are out by their words, 301 by the counters");
}

TEST_F(VerifyTest, FindsAFreeWordOfAHeldBlock) {
  flip(held_[7].ref, BlockWord::freed(word(held_[7].ref).load(), kSmallRefs.step()));
  expect_found("block " + std::to_string(slot_of(held_[7].ref).block().value) +
               " is FREE but nowhere (lost)");
  expect_found("300 blocks are out by their words, 301 by the counters");
}

TEST_F(VerifyTest, FindsALostBlockThatWasReturning) {
  flip(remote_[0].ref, BlockWord::free_of(word(remote_[0].ref).load()));
  expect_found("is FREE but nowhere (lost)");
}

TEST_F(VerifyTest, FindsAFreeWordThatStillNamesSomebody) {
  flip(freed_[0].ref, word(freed_[0].ref).load() | 5);
  expect_found("is FREE with a holder");
}

TEST_F(VerifyTest, FindsAnUncarvedBlockInUse) {
  heap().trim();
  const Allocation b = take(1, 5000)[0];
  const SlabIndex slab = slot_of(b.ref).slab();
  const std::uint32_t capacity = SlabShape{control().slab(slab).shape.load()}.capacity();
  ASSERT_LT(control().slab(slab).carved.load(), capacity);
  arena().word(Slot::of(slab, {capacity - 1})).store(BlockWord::held(0, kHolder));
  expect_found("uncarved block " + std::to_string(capacity - 1) + " is in use");
}

TEST_F(VerifyTest, FindsAHeaderThatDiffersFromTheOwners) {
  SlabHeader& h = control().slab(slab_);
  const std::uint64_t shape = h.shape.exchange(SlabShape::of(SlabKind::kSlab, {3}, 1, 99).bits);
  expect_found("slab " + std::to_string(slab_.value) + ": header shape differs from the owner's");
  h.shape.store(shape);
  h.carved.fetch_sub(1);
  expect_found("header carved differs from the owner's");
  h.carved.fetch_add(1);
  h.owner.store(1);
  expect_found("header names another owner");
  h.owner.store(0);
  expect_exact();
}

TEST_F(VerifyTest, FindsDamageToASpan) {
  flip(span_.ref, BlockWord::freed(word(span_.ref).load(), kSmallRefs.step()));
  expect_found("is FREE but nowhere (lost)");
  expect_found("blocks are out by their words");
}

TEST_F(VerifyTest, FindsUnitsThatNoHeapHas) {
  ASSERT_TRUE(arena().units().take_run(3, {0}).ok());
  expect_found("units are taken, the heaps' slabs have");
}

TEST_F(VerifyTest, FindsAHeapThatWasLeftOut) {
  take(5, 256, 1);
  const Heap* one[] = {&heap(0)};
  const VerifyReport r = verify(arena(), one);
  EXPECT_NE(findings_of(r).find("units are taken"), std::string::npos) << findings_of(r);
}

TEST_F(VerifyTest, ReportsAQuarantine) {
  arena().quarantine("for the test");
  expect_found("arena: quarantined: for the test");
}

TEST_F(VerifyTest, SharedBlocksAreOutAndCountedApart) {
  flip(held_[0].ref,
       (word(held_[0].ref).load() & ~BlockWord::kLowMask) | std::uint64_t{3} << 62 | 6);
  const VerifyReport r = report();
  EXPECT_TRUE(r.exact()) << findings_of(r);
  EXPECT_EQ(r.shared, 1u);
  EXPECT_EQ(r.held, 250u);
}

TEST_F(VerifyTest, KeepsTheFirstHundredFindingsAndCountsAll) {
  for (const Allocation& b : held_)
    flip(b.ref, BlockWord::freed(word(b.ref).load(), kSmallRefs.step()));
  const VerifyReport r = report();
  EXPECT_GE(r.mismatches, held_.size());
  EXPECT_EQ(r.findings.size(), VerifyReport::kMaxFindings);
  EXPECT_EQ(r.findings_left_out(), r.mismatches - VerifyReport::kMaxFindings);
}

// All shards stand still while texts are made, and a peer can forge millions of words.
TEST_F(VerifyTest, OnlyTheFindingsThatAreKeptGetAText) {
  VerifyReport r;
  std::uint64_t texts = 0;
  for (int i = 0; i < 100'000; ++i)
    r.mismatch([&texts] { return "finding " + std::to_string(texts++); });
  EXPECT_EQ(texts, VerifyReport::kMaxFindings);
  EXPECT_EQ(r.mismatches, 100'000u);
  EXPECT_EQ(r.findings_left_out(), 100'000u - VerifyReport::kMaxFindings);
}

TEST_F(VerifyTest, ReportsAddUp) {
  VerifyReport a = report();
  VerifyReport b;
  b.held = 1;
  b.returning = 2;
  b.units = 3;
  b.counted_out = 3;
  b.mismatch([] { return std::string("one"); });
  const VerifyReport before = a;
  a += b;
  EXPECT_EQ(a.held, before.held + 1);
  EXPECT_EQ(a.returning, before.returning + 2);
  EXPECT_EQ(a.units, before.units + 3);
  EXPECT_EQ(a.counted_out, before.counted_out + 3);
  EXPECT_EQ(a.mismatches, 1u);
  EXPECT_EQ(a.findings.back(), "one");
}

}  // namespace
}  // namespace arenad
