// SlabTable: which slabs a heap has, and which of them have blocks to give.
#include "allocator/heap/slab_table.h"

#include <gtest/gtest.h>

#include <array>
#include <set>
#include <vector>

namespace arenad {
namespace {

constexpr std::uint32_t kTableUnits = 4 * kUnitsPerSuperslab;

// Grants the units of an arena from the first to the last, and remembers what came back.
class ListSource final : public SlabSource {
 public:
  Result<SlabIndex> take(HeapId, const RunShape& request, SuperslabIndex) override {
    if (next_ + request.units > kTableUnits) return Error::kArenaFull;
    const SlabIndex first{next_};
    next_ += request.units;
    return first;
  }
  void give_back(HeapId, SlabIndex first, std::uint32_t) override { given_back.push_back(first); }
  std::vector<SlabIndex> given_back;

 private:
  std::uint32_t next_ = 0;
};

class SlabTableTest : public testing::Test {
 protected:
  static constexpr ClassId kClass{3};
  std::uint32_t carve_all(SlabState& slab) {
    table.begin_take(slab);
    slab.carved = slab.capacity;
    table.end_take(slab, slab.capacity);
    return slab.capacity;
  }
  // All blocks of a slab come home.
  void empty(SlabState& slab) {
    const std::uint32_t out = slab.out();
    for (std::uint32_t b = 0; b < slab.carved; ++b) slab.put_free({b});
    table.came_home(out);
    table.gained(slab);
  }

  Geometry geometry;
  ListSource source;
  RowTables rows{{1}, std::uint64_t{kTableUnits / kUnitsPerSuperslab} << 18};
  std::array<Magazine, kMaxClasses> magazines;
  HeapCounters counters;
  SlabTable table{geometry, kTableUnits, {5}, source, rows, magazines, counters};

  SlabTableTest() {
    for (Magazine& m : magazines) m.capacity = 8;
  }
};

TEST_F(SlabTableTest, TakenSlabIsListedAndHasRowsAndAMagazine) {
  EXPECT_EQ(table.next_with_blocks(kClass), nullptr);
  const auto slab = table.take_slab(kClass);
  ASSERT_TRUE(slab.ok());
  EXPECT_EQ(table.next_with_blocks(kClass), *slab);
  EXPECT_EQ(table.find((*slab)->slab), *slab);
  EXPECT_EQ((*slab)->stride_bytes, geometry.size_class(kClass).stride_bytes);
  EXPECT_EQ((*slab)->payload_offset, (*slab)->slab.value * kSlabUnitBytes);
  EXPECT_NE(magazines[kClass.value].bottom, nullptr);
  EXPECT_EQ(rows.magazines()[Slot::of((*slab)->slab, {0}).value / 64], magazine_position(kClass));
  EXPECT_EQ(counters.new_slabs, 1u);
}

TEST_F(SlabTableTest, SpanTakesAllItsUnitsAndIsNeverListed) {
  const auto span = table.take_span(5);
  ASSERT_TRUE(span.ok());
  EXPECT_TRUE((*span)->is_span);
  EXPECT_EQ((*span)->stride_bytes, 5 * kSlabUnitBytes);
  EXPECT_FALSE((*span)->listed);
  EXPECT_EQ(rows.magazines()[Slot::of((*span)->slab, {0}).value / 64], 0u);
}

TEST_F(SlabTableTest, SlabWithoutBlocksLeavesTheListAndComesBackWithTheFirstThatIsHome) {
  SlabState& slab = **table.take_slab(kClass);
  const std::uint32_t blocks = carve_all(slab);
  EXPECT_EQ(table.next_with_blocks(kClass), nullptr);
  EXPECT_EQ(table.active_blocks(), blocks);
  slab.put_free({3});
  table.came_home(1);
  table.gained(slab);
  EXPECT_EQ(table.next_with_blocks(kClass), &slab);
  EXPECT_EQ(table.active_blocks(), blocks - 1);
}

TEST_F(SlabTableTest, KeepsFourEmptySlabsOfAClassAndGivesTheNextBack) {
  std::vector<SlabState*> slabs;
  for (int i = 0; i < 5; ++i) {
    slabs.push_back(*table.take_slab(kClass));
    carve_all(*slabs.back());
  }
  for (int i = 0; i < 4; ++i) empty(*slabs[i]);
  EXPECT_TRUE(source.given_back.empty());
  const SlabIndex last = slabs[4]->slab;
  empty(*slabs[4]);
  EXPECT_EQ(source.given_back, std::vector{last});
  EXPECT_EQ(table.find(last), nullptr);
  EXPECT_EQ(counters.released_slabs, 1u);
  EXPECT_EQ(table.release_empty(kClass),
            4 * geometry.size_class(kClass).slab_units * kSlabUnitBytes);
  EXPECT_EQ(source.given_back.size(), 5u);
}

TEST_F(SlabTableTest, ReleasedSlabsRowsNameNoMagazine) {
  SlabState& slab = **table.take_slab(kClass);
  const SlabIndex first = slab.slab;
  table.release(slab);
  EXPECT_EQ(rows.magazines()[Slot::of(first, {0}).value / 64], 0u);
  EXPECT_EQ(table.units_in({0}), 0u);
}

TEST_F(SlabTableTest, AllHasEverySlabOnceWhateverComesAndGoes) {
  const auto all = [this] {
    std::set<std::uint32_t> seen;
    for (const SlabState* s : table.all()) EXPECT_TRUE(seen.insert(s->slab.value).second);
    return seen;
  };
  std::set<std::uint32_t> want;
  for (std::uint32_t units : {1u, 2u, 32u, 7u}) want.insert((*table.take_span(units))->slab.value);
  want.insert((*table.take_slab(kClass))->slab.value);
  EXPECT_EQ(all(), want);
  while (!want.empty()) {  // the first, the last, and those in between
    const std::uint32_t gone = want.size() % 2 == 0 ? *want.begin() : *want.rbegin();
    table.release(*table.find({gone}));
    want.erase(gone);
    EXPECT_EQ(all(), want);
  }
}

TEST_F(SlabTableTest, FirstSlabIsSaidEachTimeThatThereWasNone) {
  int said = 0;
  table.when_first_comes([&] {
    ++said;
    EXPECT_EQ(table.all().size(), 1u);
  });
  SlabState& span = **table.take_span(2);
  SlabState& slab = **table.take_slab(kClass);
  EXPECT_EQ(said, 1);
  table.release(span);
  table.release(slab);
  table.enter({90}, geometry.slab_shape(kClass));  // as an adopter does
  EXPECT_EQ(said, 2);
}

TEST_F(SlabTableTest, RegionsFollowTheSlabs) {
  const auto any = [this] { return table.regions().any_of([](std::uint32_t) { return true; }); };
  EXPECT_FALSE(any());
  SlabState& slab = **table.take_slab(kClass);
  EXPECT_TRUE(any());
  table.release(slab);
  EXPECT_FALSE(any());
}

TEST_F(SlabTableTest, SourcesRefusalIsTheCallers) {
  ASSERT_TRUE(table.take_span(kTableUnits).ok());
  EXPECT_EQ(table.take_slab(kClass).error(), Error::kArenaFull);
  EXPECT_EQ(table.take_span(1).error(), Error::kArenaFull);
}

}  // namespace
}  // namespace arenad
