// Size classes, strides, capacities and the division that the guards and ref_at rely on, for every
// layout.
#include "allocator/format/geometry.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>

namespace arenad {
namespace {

class GeometryOfLayout : public testing::TestWithParam<Layout> {};
INSTANTIATE_TEST_SUITE_P(, GeometryOfLayout,
                         testing::Values(Layout::plain(), Layout::headered(), Layout::redzoned()),
                         [](const auto& of) {
                           return of.param == Layout::plain()      ? "Plain"
                                  : of.param == Layout::headered() ? "Headered"
                                                                   : "Redzoned";
                         });

TEST_P(GeometryOfLayout, ClassesAscendFrom8BytesTo128KiB) {
  const Geometry g(GetParam());
  EXPECT_EQ(g.size_class({0}).usable_bytes, 8u);
  EXPECT_EQ(g.largest_class_bytes(), 128u * 1024);
  std::uint32_t before = 0;
  for (const ClassId cls : g.classes()) {
    EXPECT_GT(g.size_class(cls).usable_bytes, before);
    before = g.size_class(cls).usable_bytes;
  }
}

TEST_P(GeometryOfLayout, ClassOfIsTheSmallestThatFitsForEverySize) {
  const Geometry g(GetParam());
  ClassId expected{0};
  for (std::uint64_t size = 1; size <= g.largest_class_bytes(); ++size) {
    if (size > g.size_class(expected).usable_bytes) ++expected.value;
    ASSERT_EQ(g.class_of(size), expected) << "size " << size;
  }
  EXPECT_EQ(expected.value + 1u, g.class_count());
}

TEST_P(GeometryOfLayout, StrideHoldsHeaderPayloadAndTrailer) {
  const Geometry g(GetParam());
  const Layout& l = g.layout();
  for (const ClassId cls : g.classes()) {
    const SizeClass& sc = g.size_class(cls);
    const std::uint32_t bare = l.header_bytes + sc.usable_bytes + l.trailer_bytes;
    EXPECT_GE(sc.stride_bytes, bare);
    EXPECT_LT(sc.stride_bytes, bare + l.stride_align);
    EXPECT_EQ(sc.stride_bytes % std::min(l.stride_align, 8u), 0u);
  }
}

TEST_P(GeometryOfLayout, CapacityIsTheFloorOfSlabBytesByStride) {
  const Geometry g(GetParam());
  for (const ClassId cls : g.classes()) {
    const SizeClass& sc = g.size_class(cls);
    const std::uint64_t slab_bytes = sc.slab_units * kSlabUnitBytes;
    EXPECT_TRUE(std::has_single_bit(sc.slab_units));
    EXPECT_LE(sc.slab_units, kUnitsPerSuperslab);
    EXPECT_EQ(sc.capacity, slab_bytes / sc.stride_bytes);
    EXPECT_LE(std::uint64_t{sc.capacity} * sc.stride_bytes, slab_bytes)
        << "the last block would run into the next slab";
    EXPECT_LE(sc.capacity, kMaxBlocksPerSlab);
    EXPECT_GE(sc.capacity, 2u);
    EXPECT_LE((slab_bytes - std::uint64_t{sc.capacity} * sc.stride_bytes) * 8, slab_bytes)
        << "a tail of more than an eighth, class " << int{cls.value};
  }
}

TEST_P(GeometryOfLayout, ReciprocalIsExactForEveryOffsetOfEverySlab) {
  const Geometry g(GetParam());
  for (const ClassId cls : g.classes()) {
    const SizeClass& sc = g.size_class(cls);
    const auto slab_bytes = static_cast<std::uint32_t>(sc.slab_units * kSlabUnitBytes);
    std::uint32_t quotient = 0, rest = 0, wrong = 0;
    for (std::uint32_t n = 0; n < slab_bytes; ++n) {
      wrong += sc.reciprocal.divide(n) != quotient;
      if (++rest == sc.stride_bytes) rest = 0, ++quotient;
    }
    EXPECT_EQ(wrong, 0u) << "stride " << sc.stride_bytes;
  }
}

TEST_P(GeometryOfLayout, EveryPayloadHasTheAlignmentThatItsClassStates) {
  const Geometry g(GetParam());
  for (const ClassId cls : g.classes()) {
    const SizeClass& sc = g.size_class(cls);
    for (std::uint32_t b = 0; b < sc.capacity; ++b) {
      const std::uint64_t offset = g.payload_offset(cls, Slot::of({sc.slab_units * 3}, {b}));
      ASSERT_EQ(offset % sc.align_bytes, 0u);
      ASSERT_EQ(offset, sc.slab_units * 3 * kSlabUnitBytes + std::uint64_t{b} * sc.stride_bytes +
                            g.layout().header_bytes);
    }
  }
}

TEST_P(GeometryOfLayout, SpanUnitsCoverHeaderAndTrailerAndRoundUpToSuperslabsBeyondOne) {
  const Geometry g(GetParam());
  const std::uint64_t around = g.layout().header_bytes + g.layout().trailer_bytes;
  EXPECT_EQ(g.span_units(kSlabUnitBytes - around), 1u);
  EXPECT_EQ(g.span_units(kSlabUnitBytes - around + 1), 2u);
  EXPECT_EQ(g.span_units(kSuperslabBytes - around), 32u);
  EXPECT_EQ(g.span_units(kSuperslabBytes - around + 1), 64u);
  EXPECT_EQ(g.span_units(5 * kSuperslabBytes - around), 160u);
}

TEST(Geometry, WasteIsAtMostAQuarterFrom64BytesOnAndAboutAnEighthOnAverage) {
  const Geometry g;
  double sum = 0;
  std::uint64_t sizes = 0;
  for (std::uint64_t size = 64; size <= g.largest_class_bytes(); ++size) {
    const std::uint64_t stride = g.size_class(g.class_of(size)).stride_bytes;
    ASSERT_LE((stride - size) * 4, size) << "size " << size;
    sum += static_cast<double>(stride - size) / static_cast<double>(stride);
    ++sizes;
  }
  EXPECT_LT(sum / static_cast<double>(sizes), 0.125);
}

TEST(Geometry, EightByteBlocksAreEightApartAndAllOthersSixteenAligned) {
  const Geometry g;
  EXPECT_EQ(g.size_class({0}).stride_bytes, 8u);
  EXPECT_EQ(g.size_class({0}).align_bytes, 8u);
  EXPECT_EQ(g.size_class({0}).capacity, kMaxBlocksPerSlab);
  for (ClassId cls{1}; g.has_class(cls); ++cls.value)
    EXPECT_EQ(g.size_class(cls).align_bytes % 16, 0u) << "class " << int{cls.value};
}

TEST(Geometry, AlignedClassIsTheSmallestThatFitsAndIsAligned) {
  const Geometry g;
  for (std::uint32_t align = 1; align <= kMaxAlignBytes; align *= 2)
    for (std::uint64_t size : {1, 8, 24, 64, 100, 513, 4096, 4097, 70000, 131072}) {
      const auto cls = g.class_of(size, align);
      ASSERT_TRUE(cls.ok()) << size << " at " << align;
      ASSERT_TRUE(g.has_class(*cls)) << size << " at " << align;
      EXPECT_GE(g.size_class(*cls).usable_bytes, size);
      EXPECT_EQ(g.size_class(*cls).align_bytes % align, 0u);
      for (ClassId smaller = g.class_of(size); smaller < *cls; ++smaller.value)
        EXPECT_LT(g.size_class(smaller).align_bytes, align);
    }
}

TEST(Geometry, WrongSizesAndAlignmentsAreRefusedByName) {
  const Geometry g;
  EXPECT_EQ(g.class_of(0, 0).error(), Error::kInvalidSize);
  EXPECT_EQ(g.class_of(64, 24).error(), Error::kInvalidAlignment);
  EXPECT_EQ(g.class_of(64, 8192).error(), Error::kInvalidAlignment);
  EXPECT_EQ(g.class_of(g.largest_class_bytes() + 1, 0).value(), kSpanClass);
}

TEST(Geometry, HeaderOfOneByteRefusesAlignmentThatItCannotKeep) {
  const Geometry g(Layout::headered());
  EXPECT_TRUE(g.class_of(64, 1).ok());
  EXPECT_EQ(g.class_of(64, 2).error(), Error::kInvalidAlignment);
  EXPECT_EQ(g.class_of(64, 64).error(), Error::kInvalidAlignment);
}

TEST(Geometry, RedzonedPayloadsKeepSixteen) {
  const Geometry g(Layout::redzoned());
  for (const ClassId cls : g.classes()) EXPECT_EQ(g.size_class(cls).align_bytes, 16u);
  EXPECT_TRUE(g.class_of(64, 16).ok());
  EXPECT_EQ(g.class_of(64, 32).error(), Error::kInvalidAlignment);
}

TEST(Geometry, PredecessorsTableHasAHeaderByteInEachStride) {
  const Geometry g(Layout::headered(), {8, 16, 32, 64, 128, 256, 512, 1024});
  ASSERT_EQ(g.class_count(), 8u);
  for (const ClassId cls : g.classes()) {
    EXPECT_EQ(g.size_class(cls).stride_bytes, (8u << cls.value) + 1);
    EXPECT_EQ(g.class_of(8u << cls.value), cls);
  }
  EXPECT_EQ(g.class_of(9), ClassId{1});
  EXPECT_EQ(g.largest_class_bytes(), 1024u);
}

}  // namespace
}  // namespace arenad
