#include "allocator/format/geometry.h"

#include <algorithm>

namespace arenad {
namespace {

constexpr std::uint64_t round_up(std::uint64_t n, std::uint64_t to) {
  return (n + to - 1) / to * to;
}

// A slab takes one 64 KiB unit where that wastes little, more where blocks are large: at least
// eight blocks, or the largest run, and the tail that no block fits in at most an eighth.
std::uint32_t units_for(std::uint32_t stride) {
  for (std::uint32_t units = 1; units < kUnitsPerSuperslab; units *= 2) {
    const std::uint64_t bytes = bytes_of_units(units);
    if (bytes / stride >= 8 && bytes % stride * 8 <= bytes) return units;
  }
  return kUnitsPerSuperslab;
}

// The largest size of the bucket of `size` (Geometry::bucket).
std::uint64_t last_in_bucket(std::uint64_t size) {
  if (size <= 1024) return (size + 7) / 8 * 8;
  const int shift = static_cast<int>(std::bit_width(size - 1)) - 4;
  return (((size - 1) >> shift) + 1) << shift;
}

}  // namespace

Geometry::Geometry(Layout layout) : layout_(layout) {
  std::uint32_t n = 0;
  const auto sizes = default_usable_sizes(&n);
  build({sizes.begin(), sizes.begin() + n});
}

Geometry::Geometry(Layout layout, const std::vector<std::uint32_t>& usable_sizes)
    : layout_(layout) {
  build(usable_sizes);
}

void Geometry::build(const std::vector<std::uint32_t>& usable_sizes) {
  count_ = static_cast<std::uint32_t>(std::min<std::size_t>(usable_sizes.size(), kMaxClasses));
  for (std::uint32_t c = 0; c < count_; ++c) {
    SizeClass& sc = classes_[c];
    sc.usable_bytes = usable_sizes[c];
    const std::uint32_t bare = layout_.header_bytes + sc.usable_bytes + layout_.trailer_bytes;
    const std::uint32_t unit = bare < layout_.stride_align ? 8 : layout_.stride_align;
    sc.stride_bytes =
        static_cast<std::uint32_t>(round_up(bare, std::min(unit, layout_.stride_align)));
    sc.slab_units = units_for(sc.stride_bytes);
    sc.capacity = static_cast<std::uint32_t>(bytes_of_units(sc.slab_units) / sc.stride_bytes);
    sc.reciprocal = Reciprocal::of(sc.stride_bytes);
    std::uint32_t align = std::uint32_t{1} << std::countr_zero(sc.stride_bytes);
    if (layout_.header_bytes != 0)
      align = std::min(align, std::uint32_t{1} << std::countr_zero(layout_.header_bytes));
    sc.align_bytes = std::min(align, kMaxAlignBytes);
  }
  // For each bucket the class of its largest size, so that no size of the bucket is served too
  // small.
  std::uint64_t next = 1;
  for (const ClassId cls : classes())
    for (; next <= size_class(cls).usable_bytes;
         next = std::min<std::uint64_t>(last_in_bucket(next), size_class(cls).usable_bytes) + 1)
      class_by_bucket_[bucket(next)] = cls;
}

Result<ClassId> Geometry::class_of(std::uint64_t size, std::uint32_t align) const {
  if (size == 0) return Error::kInvalidSize;
  if ((align & (align - 1)) != 0 || align > kMaxAlignBytes) return Error::kInvalidAlignment;
  if (align > 16 && (layout_.header_bytes != 0 || layout_.stride_align < 16))
    return Error::kInvalidAlignment;
  if (align > 1 && layout_.header_bytes % std::min<std::uint32_t>(align, 16) != 0)
    return Error::kInvalidAlignment;
  if (size > largest_class_bytes()) return kSpanClass;
  for (ClassId cls = class_of(size); has_class(cls); ++cls.value)
    if (size_class(cls).align_bytes >= align) return cls;
  return kSpanClass;
}

std::uint64_t Geometry::span_units(std::uint64_t size) const {
  const std::uint64_t bytes = layout_.header_bytes + size + layout_.trailer_bytes;
  const std::uint64_t units = (bytes + kSlabUnitBytes - 1) / kSlabUnitBytes;
  return units <= kUnitsPerSuperslab ? units : round_up(units, kUnitsPerSuperslab);
}

RunShape Geometry::slab_shape(ClassId cls) const {
  const SizeClass& sc = size_class(cls);
  return {SlabKind::kSlab, cls, sc.slab_units, sc.capacity, sc.stride_bytes, sc.usable_bytes};
}

RunShape Geometry::span_shape(std::uint32_t units) const {
  const std::uint64_t bytes = bytes_of_units(units);
  return {SlabKind::kSpan, kSpanClass,
          units,           1,
          bytes,           bytes - layout_.header_bytes - layout_.trailer_bytes};
}

RunShape Geometry::span_for(std::uint64_t size) const {
  return span_shape(static_cast<std::uint32_t>(span_units(size)));
}

RunShape Geometry::run_shape(SlabKind kind, ClassId cls, std::uint32_t units) const {
  if (kind == SlabKind::kSlab && has_class(cls) && size_class(cls).slab_units == units)
    return slab_shape(cls);
  const bool span_size = units <= kUnitsPerSuperslab || units % kUnitsPerSuperslab == 0;
  if (kind == SlabKind::kSpan && cls == kSpanClass && units != 0 && span_size)
    return span_shape(units);
  return {};
}

}  // namespace arenad
