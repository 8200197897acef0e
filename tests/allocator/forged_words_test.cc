// A heap over control memory that a peer forges. The heap knows from its private memory which of
// its blocks are away. So a drain never takes a block that is in a magazine, and what leaves a heap
// lies inside a slab of the heap that has the right class. A heap that serves other processes does
// not believe a free of a block that is at home either.
#include "tests/allocator/arena_fixture.h"

namespace arenad {
namespace {

constexpr SessionId kForger{9};
constexpr std::uint64_t kSize = 1000;
constexpr std::uint64_t kOtherSize = 3000;

struct Kind {
  const char* name;
  Layout layout;
  HeapUse use;
};

class ForgedWords : public ArenaWithHeaps, public testing::WithParamInterface<Kind> {
 protected:
  void SetUp() override {
    broken_on_purpose_ = true;
    make(8 * kMiB, 0, GetParam().layout);
    heaps_.push_back(std::make_unique<Heap>(arena(), HeapId{0}, SessionId{1}, GetParam().use));
  }

  // Six slabs of blocks, all of them in the magazine of heap 0. A heap keeps four empty slabs.
  std::vector<Allocation> cached_blocks() {
    const ClassId cls = arena().geometry().class_of(kSize);
    auto blocks = take(std::size_t{6} * arena().geometry().size_class(cls).capacity, kSize);
    give(blocks);
    heap().for_each_cached([this](Slot slot) { cached_.insert(slot.value); });
    EXPECT_GE(cached_.size(), blocks.size() / 2);
    return blocks;
  }
  bool is_cached(const Allocation& b) const { return cached_.contains(slot_of(b.ref).value); }

  void forge_returning(Ref ref) {
    const Slot slot = slot_of(ref);
    word(ref).store(BlockWord::returning(word(ref).load(), kForger, kSmallRefs.step()));
    arena().publish_returned(slot.value >> 6, std::uint64_t{1} << (slot.value & 63), true);
  }
  Ref forge_held(Ref ref) {
    word(ref).store(BlockWord::held(BlockWord::free_of(word(ref).load()), kHolder));
    return arena().refs().ref_of(slot_of(ref), BlockWord(word(ref).load()));
  }

  // By the owner's ledger, which is private: the block lies in a slab of its size's class.
  void expect_in_its_slab(const Allocation& b, std::uint64_t size) {
    const Slot slot = slot_of(b.ref);
    const RunShape run = arena().run_at(slot.slab());
    ASSERT_EQ(run.kind, SlabKind::kSlab);
    EXPECT_EQ(run.cls, arena().geometry().class_of(size));
    EXPECT_LT(slot.block().value, run.capacity);
    EXPECT_EQ(b.offset, arena().geometry().payload_offset(run, slot));
    EXPECT_LE(b.offset + run.usable_bytes, arena().capacity_bytes());
  }
  // Allocates until the heap refuses.
  void drain_the_heap(std::uint64_t size) {
    for (int i = 0; i < 10'000; ++i) {
      const auto got = heap().allocate(size, kHolder);
      if (!got.ok()) return;
      ASSERT_NO_FATAL_FAILURE(expect_in_its_slab(*got, size));
    }
  }

  std::set<std::uint64_t> cached_;
};

TEST_P(ForgedWords, BlockInAMagazineIsNeverTakenByADrain) {
  const auto blocks = cached_blocks();
  for (const Allocation& b : blocks)
    if (is_cached(b)) forge_returning(b.ref);
  EXPECT_EQ(heap().drain(), 0u);
  EXPECT_TRUE(arena().quarantined());
  EXPECT_NE(arena().quarantine_reason().find("of a free block said RETURNING"), std::string::npos)
      << arena().quarantine_reason();
}

// The attack of the wild write: an emptied slab becomes another class's while the magazine still
// has its blocks.
TEST_P(ForgedWords, WhatLeavesAHeapIsInsideItsSlabAfterForgedReturns) {
  const auto blocks = cached_blocks();
  for (const Allocation& b : blocks) forge_returning(b.ref);
  heap().drain();
  for (const Allocation& b : blocks)  // so that a magazine that kept them would give them out
    word(b.ref).store(BlockWord::free_of(word(b.ref).load()));
  [[maybe_unused]] const auto other = heap().allocate(16, kHolder);
  drain_the_heap(kSize);
}

// A peer takes a slab away from under its holders, and then makes their old refs look held.
TEST_P(ForgedWords, OldRefsOfASlabThatBecameAnotherClassesStayInsideIt) {
  const ClassId cls = arena().geometry().class_of(kSize);
  const auto held = take(std::size_t{6} * arena().geometry().size_class(cls).capacity, kSize);
  std::vector<std::uint64_t> words;
  for (const Allocation& b : held) {
    words.push_back(word(b.ref).load());
    forge_returning(b.ref);
  }
  heap().drain();
  heap().trim();
  const auto others = take(200, kOtherSize);
  for (std::size_t i = 0; i < held.size(); ++i) {
    word(held[i].ref).store(words[i]);
    [[maybe_unused]] const Error e = heap().free(held[i].ref);
  }
  for (const Allocation& b : others) [[maybe_unused]] const Error e = heap().free(b.ref);
  drain_the_heap(kOtherSize);
  drain_the_heap(kSize);
}

// By forged words a block is freed twice by its own process, which had it twice. Half of the
// magazine goes home, the slab seems empty, and the rest of the magazine stays.
TEST_P(ForgedWords, SlabDoesNotLeaveWhileTheMagazineHasABlockOfIt) {
  const auto blocks = cached_blocks();
  for (const Allocation& b : blocks) {
    const Ref forged = forge_held(b.ref);
    [[maybe_unused]] const Error e = heap().free(forged);
  }
  [[maybe_unused]] const auto other = heap().allocate(16, kHolder);
  for (const Allocation& b : blocks) word(b.ref).store(BlockWord::free_of(word(b.ref).load()));
  drain_the_heap(kSize);
}

const Kind kKinds[] = {{"Plain", Layout::plain(), HeapUse::kOwnProcess},
                       {"Redzoned", Layout::redzoned(), HeapUse::kOwnProcess},
                       {"PlainForOthers", Layout::plain(), HeapUse::kServesOthers},
                       {"RedzonedForOthers", Layout::redzoned(), HeapUse::kServesOthers}};
INSTANTIATE_TEST_SUITE_P(Heaps, ForgedWords, testing::ValuesIn(kKinds),
                         [](const auto& kind) { return std::string(kind.param.name); });

class ForgedWordsForOthers : public ForgedWords {};
TEST_P(ForgedWordsForOthers, BlockInAMagazineIsNotFreedASecondTime) {
  const auto blocks = cached_blocks();
  std::uint64_t refused = 0;
  for (const Allocation& b : blocks) {
    if (!is_cached(b)) continue;
    const Ref forged = forge_held(b.ref);
    const Error e = refused % 2 == 0
                        ? heap().free(forged)
                        : heap().free_checked({forged.value}, kForger, kNoSession).error;
    EXPECT_EQ(e, Error::kQuarantined);
    ++refused;
  }
  EXPECT_EQ(heap().counters().guard_trips, refused);
  EXPECT_EQ(heap().counters().local_frees, blocks.size());
  EXPECT_NE(arena().quarantine_reason().find("said HELD"), std::string::npos)
      << arena().quarantine_reason();
}

TEST_P(ForgedWordsForOthers, ShareOfABlockInAMagazineIsNotReleased) {
  const auto blocks = cached_blocks();
  const Allocation mine = take(1, 64)[0];
  ASSERT_EQ(arena().acquire({mine.ref.value}, Holder{kForger, 0}).ok(), true);
  ASSERT_EQ(arena().share({mine.ref.value}, kForger), Error::kNone);
  for (const Allocation& b : blocks) {
    if (!is_cached(b)) continue;
    word(b.ref).store(BlockWord::shared(word(b.ref).load(), arena().sharer_bits(kForger)));
    const Ref forged = arena().refs().ref_of(slot_of(b.ref), BlockWord(word(b.ref).load()));
    EXPECT_EQ(heap().release({forged.value}, kForger), Error::kQuarantined);
  }
  EXPECT_EQ(heap().release({mine.ref.value}, kForger), Error::kNone);
  EXPECT_EQ(heap().counters().local_frees, blocks.size() + 1);
}

INSTANTIATE_TEST_SUITE_P(Heaps, ForgedWordsForOthers, testing::Values(kKinds[2], kKinds[3]),
                         [](const auto& kind) { return std::string(kind.param.name); });

}  // namespace
}  // namespace arenad
