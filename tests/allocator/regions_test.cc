// Regions: where a heap has slabs, and so where its drainer looks.
#include "allocator/heap/regions.h"

#include <gtest/gtest.h>

#include <vector>

namespace arenad {
namespace {

std::vector<std::uint32_t> all(const Regions& regions) {
  std::vector<std::uint32_t> found;
  regions.any_of([&found](std::uint32_t region) {
    found.push_back(region);
    return false;
  });
  return found;
}

constexpr std::uint32_t kEvery = Regions::kSuperslabs;

TEST(Regions, RegionIsThereFromItsFirstSlabToItsLast) {
  Regions regions(512 * kEvery);  // 4 TiB
  EXPECT_TRUE(all(regions).empty());
  regions.add({3});
  regions.add({kEvery - 1});
  regions.add({kEvery});
  regions.add({511 * kEvery});
  EXPECT_EQ(all(regions), (std::vector<std::uint32_t>{0, 1, 511}));
  regions.remove({3});
  regions.remove({kEvery});
  EXPECT_EQ(all(regions), (std::vector<std::uint32_t>{0, 511}));
  regions.remove({kEvery - 1});
  regions.remove({511 * kEvery});
  EXPECT_TRUE(all(regions).empty());
}

TEST(Regions, SmallArenaHasOneRegion) {
  Regions regions(1);
  regions.add({0});
  EXPECT_EQ(all(regions), std::vector<std::uint32_t>{0});
}

TEST(Regions, AsksNoFurtherThanTheFirstTrue) {
  Regions regions(3 * kEvery);
  for (std::uint32_t region = 0; region < 3; ++region) regions.add({region * kEvery});
  int asked = 0;
  EXPECT_TRUE(regions.any_of([&asked](std::uint32_t region) {
    ++asked;
    return region == 1;
  }));
  EXPECT_EQ(asked, 2);
}

}  // namespace
}  // namespace arenad
