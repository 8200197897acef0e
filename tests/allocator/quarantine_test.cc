// Control memory is hostile. What it says is checked, an arena that lies is quarantined, and the
// process goes on.
//
// Each test says what is served after the damage. expect_serves_only_returns() is the contract of a
// quarantined arena: nothing is allocated from it, and what was given out may change hands and come
// back. Another arena stands beside the damaged one in every test, and serves exactly at the end.
#include "tests/allocator/arena_fixture.h"
#include "tests/support/refs.h"

namespace arenad {
namespace {

constexpr Holder kHeir{{78}, 8};

class QuarantineTest : public ArenaWithHeaps {
 protected:
  void SetUp() override {
    broken_on_purpose_ = true;
    ArenaConfig config;
    config.id = {2};
    config.capacity_bytes = 4 * kMiB;
    auto made = Arena::create(config);
    ASSERT_TRUE(made.ok()) << made.error().message;
    other_ = std::move(*made);
    other_heap_ = std::make_unique<Heap>(*other_, HeapId{0}, SessionId{1});
  }
  void TearDown() override {
    expect_other_serves_exactly();
    ArenaWithHeaps::TearDown();
  }

  // Blocks of every kind, distinct, freed once each, and an exact count afterwards.
  void expect_other_serves_exactly() {
    std::set<std::uint64_t> offsets;
    std::vector<Ref> refs;
    for (const std::uint64_t size : {16, 256, 3000, 300'000}) {
      for (int n = 0; n < 5; ++n) {
        const auto got = other_heap_->allocate(size, kHolder);
        ASSERT_TRUE(got.ok()) << error_name(got.error());
        EXPECT_TRUE(offsets.insert(got->offset).second) << "given out twice";
        refs.push_back(got->ref);
      }
    }
    for (const Ref ref : refs) {
      EXPECT_EQ(other_heap_->free(ref), Error::kNone);
      EXPECT_NE(other_heap_->free(ref), Error::kNone);
    }
    const std::vector<const Heap*> heaps{other_heap_.get()};
    const VerifyReport r = verify(*other_, heaps);
    EXPECT_TRUE(r.exact()) << findings_of(r);
    EXPECT_EQ(r.held, 0u);
    EXPECT_FALSE(other_->quarantined());
  }

  // `kept` are blocks that were given out and that nobody has damaged.
  void expect_serves_only_returns(const std::vector<Allocation>& kept) {
    ASSERT_TRUE(arena().quarantined());
    EXPECT_NE(arena().quarantine_reason(), "");
    const std::string reason = arena().quarantine_reason();
    for (const auto& h : heaps_) {
      h->trim();  // what a magazine still had
      for (const std::uint64_t size : {8, 64, 3000, 300'000})
        EXPECT_EQ(h->allocate(size, kHolder).error(), Error::kQuarantined) << size;
      Allocation batch[2];
      EXPECT_EQ(h->allocate_batch(64, 0, kHolder, batch), Error::kQuarantined);
    }
    for (const Allocation& b : kept) {
      const auto before = arena().acquire({b.ref.value}, kHeir);
      ASSERT_TRUE(before.ok()) << error_name(before.error());
      EXPECT_EQ(before->bits(), kHolder.bits());
      EXPECT_EQ(arena().describe({b.ref.value}).holder.bits(), kHeir.bits());
      EXPECT_EQ(heap().free(b.ref), Error::kNone);
      EXPECT_NE(heap().free(b.ref), Error::kNone);
      EXPECT_EQ(arena().describe({b.ref.value}).state, BlockFacts::State::kStale);
    }
    EXPECT_EQ(arena().quarantine_reason(), reason) << "the first reason stays";
  }

  void forge_held(Slot slot) {
    arena().word(slot).store(
        BlockWord::held(arena().word(slot).load() & BlockWord::kGenerationMask, kHolder));
  }

  // Allocates from heap 0 until it refuses, and says why. Nothing of `taken`, and nothing twice, is
  // given out.
  Error allocate_until_refused(std::set<std::uint64_t> taken) {
    for (;;) {
      const auto got = heap().allocate(256, kHolder);
      if (!got.ok()) return got.error();
      if (!taken.insert(got->offset).second) {
        ADD_FAILURE() << "given out, and not free: offset " << got->offset;
        return Error::kInternal;
      }
    }
  }

  std::unique_ptr<Arena> other_;
  std::unique_ptr<Heap> other_heap_;
};

TEST_F(QuarantineTest, FreeBlockWhoseWordSaysHeldIsNeverGivenOut) {
  make(4 * kMiB, 2);
  const auto kept = take(3, 256);
  const auto blocks = take(10, 256);
  give(blocks);
  for (const Allocation& b : blocks) forge_held(slot_of(b.ref));
  std::set<std::uint64_t> taken;  // all that must not be given out: held, or forged
  for (const Allocation& b : kept) taken.insert(b.offset);
  for (const Allocation& b : blocks) taken.insert(b.offset);
  EXPECT_EQ(allocate_until_refused(taken), Error::kQuarantined);
  EXPECT_NE(arena().quarantine_reason().find("is not FREE, slot"), std::string::npos)
      << arena().quarantine_reason();
  EXPECT_EQ(heap().counters().guard_trips, 1u);
  expect_serves_only_returns(kept);
}

TEST_F(QuarantineTest, FreeWordWithBitsBelowTheGenerationIsRefusedToo) {
  make(4 * kMiB);
  const auto kept = take(3, 256);
  const Allocation b = take(1, 256)[0];
  give({b});
  word(b.ref).fetch_or(1);
  std::set<std::uint64_t> taken{b.offset};
  for (const Allocation& k : kept) taken.insert(k.offset);
  EXPECT_EQ(allocate_until_refused(taken), Error::kQuarantined);
  EXPECT_EQ(heap().counters().guard_trips, 1u);
  expect_serves_only_returns(kept);
}

TEST_F(QuarantineTest, LargeBlockWhoseWordIsTakenIsRefusedAndItsUnitsStayFree) {
  make(4 * kMiB);
  const Allocation b = take(1, 300000)[0];
  give({b});
  forge_held(slot_of(b.ref));
  EXPECT_EQ(heap().allocate(300000, kHolder).error(), Error::kQuarantined);
  EXPECT_EQ(arena().units().taken_units(), 0u);
  expect_serves_only_returns({});
}

TEST_F(QuarantineTest, AllocationEndsAndReturnsAreAccepted) {
  make(16 * kMiB, 2);
  const auto blocks = take(10, 256);
  const auto large = take(2, 300000);
  const auto kept = take(3, 3000);
  arena().quarantine("first reason");
  arena().quarantine("second reason");
  EXPECT_EQ(arena().quarantine_reason(), "first reason");
  give(blocks);
  give({large[0]});
  give({large[1]}, 1);
  heap(1).publish();
  EXPECT_EQ(heap().drain(), 1u);
  expect_serves_only_returns(kept);
  // The quarantine is all that is wrong here: every count agrees.
  const VerifyReport r = report();
  EXPECT_EQ(r.mismatches, 1u) << findings_of(r);
  EXPECT_EQ(r.held, 0u);
}

// Damage can be found in each of millions of words.
TEST_F(QuarantineTest, OnlyTheFirstReasonGetsAText) {
  make(4 * kMiB);
  int texts = 0;
  for (int i = 0; i < 1000; ++i)
    arena().quarantine([&texts] { return "reason " + std::to_string(++texts); });
  EXPECT_EQ(texts, 1);
  EXPECT_EQ(arena().quarantine_reason(), "reason 1");
  arena().quarantine("a text that is there already");
  EXPECT_EQ(arena().quarantine_reason(), "reason 1");
}

TEST_F(QuarantineTest, ReturningWordOfABlockThatIsFreeAlreadyIsFoundAtTheDrain) {
  make(4 * kMiB);
  const auto blocks = take(10, 256);
  give({blocks.begin() + 1, blocks.end()});
  heap().trim();  // into the slab's free bitmap
  const Slot slot = slot_of(blocks[5].ref);
  arena().word(slot).store(
      BlockWord::returning(BlockWord::held(0, kHolder), {3}, kSmallRefs.step()));
  arena().publish_returned(slot.value >> 6, std::uint64_t{1} << (slot.value & 63), true);
  EXPECT_EQ(heap().drain(), 0u);
  ASSERT_TRUE(arena().quarantined());
  EXPECT_NE(arena().quarantine_reason().find("of a free block said RETURNING"), std::string::npos);
  EXPECT_EQ(heap().counters().guard_trips, 1u);
  expect_serves_only_returns({blocks[0]});
}

TEST_F(QuarantineTest, BlockThatAForgedWordFreesTwiceIsFoundAtTheFlush) {
  make(4 * kMiB);
  const auto kept = take(3, 256);
  const Allocation b = take(1, 256)[0];
  give({b});
  forge_held(slot_of(b.ref));
  EXPECT_EQ(heap().free(*arena().ref_at(b.offset)), Error::kNone)
      << "the word is the truth, and it lied";
  heap().trim();
  ASSERT_TRUE(arena().quarantined());
  EXPECT_EQ(heap().counters().guard_trips, 1u);
  expect_serves_only_returns(kept);
}

TEST_F(QuarantineTest, ReturningWordOfABlockThatWasNeverCarvedIsNotTaken) {
  make(4 * kMiB, 2);
  const Allocation b = take(1, 256)[0];
  const std::uint32_t carved = control().slab(slot_of(b.ref).slab()).carved.load();
  const Slot uncarved = Slot::of(slot_of(b.ref).slab(), {carved + 3});
  arena().word(uncarved).store(BlockWord::kReturningBit);
  arena().publish_returned(uncarved.value >> 6, std::uint64_t{1} << (uncarved.value & 63), true);
  EXPECT_EQ(heap().drain(), 0u)
      << "or it would be given out twice: from the free bitmap and by the carve";
  EXPECT_FALSE(arena().quarantined()) << "nothing has been served from it yet";
  // The carve comes to the block and finds a word that is not FREE.
  std::set<std::uint64_t> taken{b.offset};
  EXPECT_EQ(allocate_until_refused(taken), Error::kQuarantined);
  expect_serves_only_returns({b});
}

TEST_F(QuarantineTest, BlockBeyondTheSlabIsNotFreedWhateverControlMemorySays) {
  make(4 * kMiB, 2);
  const Allocation b = take(1, 3000)[0];
  const SlabIndex slab = slot_of(b.ref).slab();
  const std::uint32_t capacity = SlabShape{control().slab(slab).shape.load()}.capacity();
  control().slab(slab).carved.store(0xffffffff);
  for (const std::uint32_t block : {capacity, capacity + 1, 1000u, kMaxBlocksPerSlab - 1}) {
    const Slot slot = Slot::of(slab, {block});
    forge_held(slot);
    const Ref ref = ref_of(0, arena().id(), slot);
    for (const std::size_t by : {0u, 1u}) {
      EXPECT_EQ(heap(by).free_checked({ref.value}, {9}, kNoSession).error, Error::kStaleRef)
          << block;
    }
    EXPECT_EQ(arena().acquire({ref.value}, kHeir).error(), Error::kStaleRef) << block;
  }
  heap(0).trim();
  EXPECT_EQ(heap(0).drain(), 0u);
  // The block that exists changes hands and comes back, and what is allocated is within the slab.
  ASSERT_TRUE(arena().acquire({b.ref.value}, kHeir).ok());
  give({b});
  for (const Allocation& got : take(capacity, 3000))
    EXPECT_LT(slot_of(got.ref).block().value, capacity);
}

TEST_F(QuarantineTest, RemoteRedzoneCheckStaysInsideTheDataFile) {
  make(4 * kMiB, 2, Layout::redzoned());
  const auto blocks = take(8, 256);
  SlabHeader& h = control().slab(slot_of(blocks[0].ref).slab());
  const std::uint64_t shapes[] = {
      SlabShape::of(SlabKind::kSlab,
                    {static_cast<std::uint8_t>(arena().geometry().class_count() - 1)}, 32, 15)
          .bits,
      SlabShape::of(SlabKind::kSlab, {200}, 1, 1).bits,
      SlabShape::of(SlabKind::kSpan, kSpanClass, 0, 1).bits,
      SlabShape::of(SlabKind::kSpan, kSpanClass, 0xffffffff, 1).bits,
      SlabShape::of(static_cast<SlabKind>(77), {1}, 1, 1).bits,
  };
  std::size_t i = 0;
  for (const std::uint64_t shape : shapes) {
    h.shape.store(shape);
    EXPECT_EQ(heap(1).free_checked({blocks[i++].ref.value}, {9}, kNoSession).error, Error::kNone);
  }
  h.shape.store(shapes[0]);
  h.carved.store(0xffffffff);
  const Slot far = Slot::of(slot_of(blocks[0].ref).slab(),
                            {kMaxBlocksPerSlab - 1});  // times 128 KiB: far outside
  forge_held(far);
  EXPECT_EQ(heap(1).free_checked({ref_of(0, arena().id(), far).value}, {9}, kNoSession).error,
            Error::kStaleRef)
      << "how many blocks a slab has is the ledger's to say";
  // All that was freed remotely comes home, the rest is freed by its owner.
  heap(1).publish();
  EXPECT_EQ(heap(0).drain(), i);
  for (; i < blocks.size(); ++i) EXPECT_EQ(heap(0).free(blocks[i].ref), Error::kNone);
}

TEST_F(QuarantineTest, LookupsSurviveAnyHeader) {
  make(4 * kMiB, 2);
  const auto blocks = take(200, 256);
  SlabHeader& h = control().slab(slot_of(blocks[0].ref).slab());
  std::set<std::uint64_t> freed;
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
    if (heap(1).free_checked(made_up, {9}, kNoSession).error == Error::kNone) {
      EXPECT_TRUE(freed.insert(made_up.value).second) << "freed twice";
    }
    if (i % 50 == 0) heap(1).publish();  // to an owner that does not exist
    if (i % 100 == 0) arena().reap({77});
    heap(0).drain();
  }
  EXPECT_LE(freed.size(), blocks.size());
  EXPECT_FALSE(report().exact()) << "an audit finds the damage";
}

}  // namespace
}  // namespace arenad
