// ControlView: sections follow each other without overlap, and every word of the file is
// somebody's.
#include "allocator/format/control_layout.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "allocator/arena/arena_config.h"
#include "allocator/arena/footprint.h"

namespace arenad {
namespace {

constexpr std::uint32_t kLayoutHeaps = 5;

// Of an arena of so many superslabs.
class ControlLayout : public ::testing::TestWithParam<std::uint32_t> {
 protected:
  // Addresses only: nothing there is read or written.
  std::uint64_t at(const void* address) const {
    return static_cast<std::uint64_t>(static_cast<const std::byte*>(address) - view.base());
  }
  static constexpr std::uint64_t kBase = std::uint64_t{1} << 40;
  const std::uint64_t capacity_bytes = GetParam() * kSuperslabBytes;
  const SuperslabIndex last_superslab{GetParam() - 1};
  const SlabIndex last{GetParam() * kUnitsPerSuperslab - 1};
  // NOLINTNEXTLINE(performance-no-int-to-ptr): an address that is never used
  ControlView view{reinterpret_cast<std::byte*>(kBase), capacity_bytes, kLayoutHeaps};
};
INSTANTIATE_TEST_SUITE_P(SmallAndLargest, ControlLayout,
                         testing::Values(130, kMaxArenaBytes / kSuperslabBytes));

TEST_P(ControlLayout, SectionsFollowEachOtherAndEndWithTheFile) {
  struct Section {
    const char* name;
    std::uint64_t begin, end;
  };
  const std::vector<Section> sections = {
      {"header", at(&view.header()), at(&view.header()) + sizeof(ArenaHeader)},
      {"sharers", at(&view.sharers()), at(&view.sharers() + 1)},
      {"sessions", at(&view.session({0})), at(&view.session({65535}) + 1)},
      {"footprints", at(view.footprint({0})), at(view.footprint({65535}) + view.footprint_words())},
      {"heaps", at(&view.heap({0})), at(&view.heap({kLayoutHeaps - 1}) + 1)},
      {"pending bits", at(view.pending_summary({0})),
       at(view.pending_words({kLayoutHeaps - 1}) + view.pending_word_count())},
      {"superslab headers", at(&view.superslab({0})), at(&view.superslab(last_superslab) + 1)},
      {"slab headers", at(&view.slab({0})), at(&view.slab(last) + 1)},
      {"returned words", at(&view.returned({0}, kInlineReturnedWords)),
       at(&view.returned(last, kReturnedWordsPerUnit - 1) + 1)},
      {"block words", at(view.words()),
       at(view.words() + (std::uint64_t{last.value} + 1) * kMaxBlocksPerSlab)}};
  std::uint64_t end = 0;
  for (const Section& section : sections) {
    EXPECT_LE(end, section.begin) << section.name;
    EXPECT_LT(section.begin, section.end) << section.name;
    end = section.end;
  }
  EXPECT_EQ(end, ControlView::file_bytes(capacity_bytes, kLayoutHeaps));
}

TEST_P(ControlLayout, FieldsOfDifferentWritersLieOnDifferentPairsOfLines) {
  const auto line = [&](const void* address) { return at(address) / 128; };
  EXPECT_NE(line(&view.superslab({1}).committed), line(&view.superslab({1}).pending));
  EXPECT_NE(line(&view.superslab({1}).pending), line(&view.superslab({2}).committed));
  EXPECT_NE(line(&view.slab({1}).owner), line(&view.slab({1}).returned[0]));
  EXPECT_NE(line(&view.slab({1}).returned[15]), line(&view.slab({2}).shape));
  EXPECT_NE(line(view.pending_summary({1})), line(view.pending_words({1})));
}

TEST_P(ControlLayout, EachReturnedWordHasAPlaceOfItsOwn) {
  // The first words are in the slab's header, the others in the overflow section.
  EXPECT_EQ(&view.returned({7}, 15), &view.slab({7}).returned[15]);
  EXPECT_EQ(&view.returned({7}, 17), &view.returned({7}, 16) + 1);
  EXPECT_LT(at(&view.returned({7}, kReturnedWordsPerUnit - 1)),
            at(&view.returned({8}, kInlineReturnedWords)));
  EXPECT_LT(at(&view.returned({last.value - 1}, kReturnedWordsPerUnit - 1)),
            at(&view.returned(last, kInlineReturnedWords)));
}

TEST_P(ControlLayout, WhatIsCommittedByPagesBeginsAtAPage) {
  for (const std::uint64_t offset :
       {view.slab_headers_at(last_superslab), view.overflow_page(last), view.footprint_at({3}),
        view.footprint_stride(), view.superslab_header_page({77}), view.overflow_page({77}),
        view.word_page(3, 5), view.slab_headers_at({64})})
    EXPECT_EQ(offset % kPage, 0u) << offset;
}

TEST_P(ControlLayout, PagesToCommitHaveWhatLiesInThem) {
  for (const SlabIndex slab : {SlabIndex{7}, SlabIndex{last.value / 2}, last}) {
    const std::uint64_t word = at(&view.returned(slab, kInlineReturnedWords));
    EXPECT_GE(word, view.overflow_page(slab)) << slab.value;
    EXPECT_LT(word, view.overflow_page(slab) + kPage) << slab.value;
    EXPECT_EQ(at(&view.slab(first_unit_of(superslab_of(slab)))),
              view.slab_headers_at(superslab_of(slab)))
        << slab.value;
  }
}

TEST_P(ControlLayout, WordsOfAGroupOfEightUnitsLieInItsPages) {
  // Group 3 has units 24..31. Page 5 of a group has blocks 320..383 of each of its units.
  const Slot slot = Slot::of({27}, {350});
  const std::uint64_t offset = at(view.words() + slot.value);
  EXPECT_GE(offset, view.word_page(3, 5));
  EXPECT_LT(offset, view.word_page(3, 5) + kPage);
}

TEST(SlabShape, GivesBackKindClassUnitsAndCapacity) {
  const SlabShape shape = SlabShape::of(SlabKind::kSlab, {41}, 32, 8192);
  EXPECT_EQ(shape.kind(), SlabKind::kSlab);
  EXPECT_EQ(shape.cls(), ClassId{41});
  EXPECT_EQ(shape.units(), 32u);
  EXPECT_EQ(shape.capacity(), 8192u);
  EXPECT_EQ(SlabShape::of(SlabKind::kSpan, kSpanClass, 0xffffffff, 1).units(), 0xffffffffu);
}

TEST(Footprint, HasTheUnitsThatWereAddedAndAtMostOneBitFor65536thOfTheArena) {
  Footprint small(130 * kUnitsPerSuperslab);
  small.add({77});
  EXPECT_TRUE(small.has({77}));
  EXPECT_FALSE(small.has({76}));
  EXPECT_FALSE(small.has({78}));
  Footprint large(1u << 20);
  EXPECT_LE(large.words().size() * 64, kMaxFootprintBits);
  large.add({(1u << 20) - 1});
  EXPECT_TRUE(large.has({(1u << 20) - 1}));
  EXPECT_FALSE(large.has({0}));
}

}  // namespace
}  // namespace arenad
