// Control memory is hostile: what it says is checked, an arena that lies is quarantined, and the
// process goes on.
#include "tests/allocator/arena_fixture.h"

namespace arenad {
namespace {

class QuarantineTest : public ArenaWithHeaps {
 protected:
  void SetUp() override { broken_on_purpose_ = true; }
  void forge_held(Slot slot) {
    arena().word(slot).store(
        BlockWord::held(arena().word(slot).load() & BlockWord::kGenerationMask, kHolder));
  }
};

TEST_F(QuarantineTest, FreeBlockWhoseWordSaysHeldIsNeverGivenOut) {
  make(4 * kMiB, 2);
  const auto blocks = take(10, 256);
  give(blocks);
  for (const Allocation& b : blocks) forge_held(b.ref.slot());
  Error e = Error::kNone;
  for (int i = 0; i < 1000 && e == Error::kNone; ++i) {
    const auto b = heap().allocate(256, kHolder);
    e = b ? Error::kNone : b.error();
    for (const Allocation& forged : blocks) ASSERT_TRUE(!b || b->offset != forged.offset);
  }
  EXPECT_EQ(e, Error::kQuarantined);
  EXPECT_TRUE(arena().quarantined());
  EXPECT_NE(arena().quarantine_reason().find("is not FREE, slot"), std::string::npos)
      << arena().quarantine_reason();
  EXPECT_EQ(heap().counters().guard_trips, 1u);
}

TEST_F(QuarantineTest, FreeWordWithBitsBelowTheGenerationIsRefusedToo) {
  make(4 * kMiB);
  const Allocation b = take(1, 256)[0];
  give({b});
  word(b.ref).fetch_or(1);
  Error e = Error::kNone;
  for (int i = 0; i < 1000 && e == Error::kNone; ++i) {
    const auto got = heap().allocate(256, kHolder);
    e = got ? Error::kNone : got.error();
  }
  EXPECT_EQ(e, Error::kQuarantined);
}

TEST_F(QuarantineTest, SpanWhoseWordIsTakenIsRefusedAndItsUnitsStayFree) {
  make(4 * kMiB);
  const Allocation b = take(1, 300000)[0];
  give({b});
  forge_held(b.ref.slot());
  EXPECT_EQ(heap().allocate(300000, kHolder).error(), Error::kQuarantined);
  EXPECT_EQ(arena().units().taken_units(), 0u);
}

TEST_F(QuarantineTest, AllocationEndsButFreesAreAccepted) {
  make(16 * kMiB, 2);
  const auto blocks = take(10, 256);
  const auto span = take(2, 300000);
  arena().quarantine("first reason");
  arena().quarantine("second reason");
  EXPECT_EQ(arena().quarantine_reason(), "first reason");
  EXPECT_EQ(heap(1).allocate(64, kHolder).error(), Error::kQuarantined);
  EXPECT_EQ(heap(1).allocate(300000, kHolder).error(), Error::kQuarantined);
  Allocation batch[2];
  EXPECT_EQ(heap(1).allocate_batch(64, 0, kHolder, batch), Error::kQuarantined);
  give(blocks);
  give({span[0]});
  give({span[1]}, 1);
  heap(1).publish();
  EXPECT_EQ(heap().drain(), 1u);
  const VerifyReport r = report();
  EXPECT_EQ(r.mismatches, 1u) << findings_of(r);
}

TEST_F(QuarantineTest, ReturningWordOfABlockThatIsFreeAlreadyIsFoundAtTheDrain) {
  make(4 * kMiB);
  const auto blocks = take(10, 256);
  give({blocks.begin() + 1, blocks.end()});
  heap().trim();  // into the slab's free bitmap
  const Slot slot = blocks[5].ref.slot();
  arena().word(slot).store(BlockWord::returning(BlockWord::held(0, kHolder), {3}));
  arena().publish_returned(slot.value >> 6, std::uint64_t{1} << (slot.value & 63), true);
  EXPECT_EQ(heap().drain(), 0u);
  EXPECT_TRUE(arena().quarantined());
  EXPECT_NE(arena().quarantine_reason().find("of a free block said RETURNING"), std::string::npos);
  EXPECT_EQ(heap().counters().guard_trips, 1u);
}

TEST_F(QuarantineTest, BlockThatAForgedWordFreesTwiceIsFoundAtTheFlush) {
  make(4 * kMiB);
  const Allocation b = take(1, 256)[0];
  give({b});
  forge_held(b.ref.slot());
  EXPECT_EQ(heap().free(*arena().ref_at(b.offset)),
            Error::kNone);  // the word is the truth, and it lied
  heap().trim();
  EXPECT_TRUE(arena().quarantined());
  EXPECT_EQ(heap().counters().guard_trips, 1u);
  EXPECT_EQ(heap().allocate(256, kHolder).error(), Error::kQuarantined);
}

TEST_F(QuarantineTest, ReturningWordOfABlockThatWasNeverCarvedIsNotTaken) {
  make(4 * kMiB, 2);
  const Allocation b = take(1, 256)[0];
  const std::uint32_t carved = control().slab(b.ref.slot().slab()).carved.load();
  const Slot uncarved = Slot::of(b.ref.slot().slab(), {carved + 3});
  arena().word(uncarved).store(BlockWord::kReturningBit);
  arena().publish_returned(uncarved.value >> 6, std::uint64_t{1} << (uncarved.value & 63), true);
  EXPECT_EQ(heap().drain(), 0u)
      << "or it would be given out twice: from the free bitmap and by the carve";
}

TEST_F(QuarantineTest, OtherArenasGoOn) {
  make(4 * kMiB);
  ArenaConfig options;
  options.id = {2};
  options.capacity_bytes = 4 * kMiB;
  auto other = Arena::create(options);
  ASSERT_TRUE(other.ok());
  Heap fine(**other, {0}, {1});
  arena().quarantine("this one only");
  EXPECT_TRUE(fine.allocate(64, kHolder).ok());
}

TEST_F(QuarantineTest, BlockBeyondTheSlabIsNotFreedWhateverControlMemorySays) {
  make(4 * kMiB, 2);
  const Allocation b = take(1, 3000)[0];
  const SlabIndex slab = b.ref.slot().slab();
  const std::uint32_t capacity = SlabShape{control().slab(slab).shape.load()}.capacity();
  control().slab(slab).carved.store(0xffffffff);
  for (const std::uint32_t block : {capacity, capacity + 1, 1000u, kMaxBlocksPerSlab - 1}) {
    const Slot slot = Slot::of(slab, {block});
    forge_held(slot);
    const Ref ref = Ref::of(0, arena().id(), slot);
    EXPECT_NE(heap(0).free_checked({ref.value}, {9}, kNoSession).error, Error::kNone) << block;
  }
  heap(0).trim();
  give({b});
  EXPECT_EQ(heap(0).drain(), 0u);
}

TEST_F(QuarantineTest, RemoteCanaryCheckStaysInsideTheDataFile) {
  make(4 * kMiB, 2, Layout::canaried());
  const auto blocks = take(8, 256);
  SlabHeader& h = control().slab(blocks[0].ref.slot().slab());
  const std::uint64_t shapes[] = {
      SlabShape::of(SlabKind::kSlab,
                    static_cast<std::uint8_t>(arena().geometry().class_count() - 1), 32, 15)
          .bits,
      SlabShape::of(SlabKind::kSlab, 200, 1, 1).bits,
      SlabShape::of(SlabKind::kSpan, kSpanClass, 0, 1).bits,
      SlabShape::of(SlabKind::kSpan, kSpanClass, 0xffffffff, 1).bits,
      SlabShape::of(static_cast<SlabKind>(77), 1, 1, 1).bits,
  };
  std::size_t i = 0;
  for (const std::uint64_t shape : shapes) {
    h.shape.store(shape);
    EXPECT_EQ(heap(1).free_checked({blocks[i++].ref.value}, {9}, kNoSession).error, Error::kNone);
  }
  h.shape.store(shapes[0]);
  h.carved.store(0xffffffff);
  const Slot far =
      Slot::of(blocks[0].ref.slot().slab(), {kMaxBlocksPerSlab - 1});  // times 128 KiB: far outside
  forge_held(far);
  EXPECT_EQ(heap(1).free_checked({Ref::of(0, arena().id(), far).value}, {9}, kNoSession).error,
            Error::kStaleRef)
      << "how many blocks a slab has is the ledger's to say";
}

TEST_F(QuarantineTest, LookupsSurviveAnyHeader) {
  make(4 * kMiB, 2);
  const auto blocks = take(200, 256);
  SlabHeader& h = control().slab(blocks[0].ref.slot().slab());
  std::uint64_t random = 88172645463325252;
  for (int i = 0; i < 2000; ++i) {
    random ^= random << 13, random ^= random >> 7, random ^= random << 17;
    h.shape.store(random);
    h.carved.store(static_cast<std::uint32_t>(random >> 13));
    h.owner.store(static_cast<std::uint32_t>(random >> 29));
    const Allocation& b = blocks[static_cast<std::size_t>(random % blocks.size())];
    const UntrustedRef made_up{b.ref.value ^ (i % 2 != 0 ? random & 0xffff : 0)};
    arena().describe(made_up);
    [[maybe_unused]] const auto at = arena().ref_at(b.offset);
    [[maybe_unused]] const auto taken = arena().acquire(made_up, kHolder);
    heap(1).free_checked(made_up, {9}, kNoSession);
    if (i % 50 == 0) heap(1).publish();  // to an owner that does not exist
    if (i % 100 == 0) arena().reap({77});
    heap(0).drain();
  }
  report();
}

}  // namespace
}  // namespace arenad
