// Geometry: size classes, strides, capacities and offsets.
//
// Purpose: everything that follows from an arena's Layout and nothing else.
// Invariants:
// * stride >= header + usable + trailer. A stride need not be a power of two.
// * capacity = floor(slab_bytes / stride).
// * A block is valid when offset % stride == 0 and offset / stride < carved. The offset counts from
//   the slab's base. An absolute address is never tested against the stride.
// * class_of(size) is the smallest class with usable >= size.
// * Division by a stride is exact for every offset in a slab (Reciprocal).
// Threads: immutable after construction. Crash: nothing is shared.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <vector>

#include "../base/error.h"
#include "../base/export.h"
#include "debug_flags.h"
#include "ids.h"

namespace arenad {

inline constexpr std::uint32_t kMaxAlignBytes = 4096;
inline constexpr std::uint64_t kLargestClassBytes = 128 * 1024;

inline constexpr std::uint32_t kRedzoneHeadBytes = 16;  // right in front of a payload
inline constexpr std::uint32_t kRedzoneTailBytes = 8;   // right behind it
inline constexpr std::uint32_t kTrackBytes = 32;        // a block's first bytes

// What lies around each payload. By default the data file has nothing but payload.
struct Layout {
  std::uint32_t header_bytes = 0;   // in front of the payload
  std::uint32_t trailer_bytes = 0;  // behind the payload
  std::uint32_t stride_align = 16;  // strides are rounded up to this (8-byte blocks: to 8)
  static constexpr Layout plain() { return {}; }
  static constexpr Layout headered() {
    return {1, 0, 1};
  }  // 512 B -> stride 513, as the predecessor had
  // A record of who had the block, then a redzone, the payload, and a redzone.
  static constexpr Layout debugged(DebugFlags flags) {
    return {(flags.tracking ? kTrackBytes : 0) + (flags.redzones ? kRedzoneHeadBytes : 0),
            flags.redzones ? kRedzoneTailBytes : 0, 16};
  }
  static constexpr Layout redzoned() { return debugged({.redzones = true}); }
  // Whether an arena with these flags may be laid out so.
  constexpr bool fits(DebugFlags flags) const {
    return *this == debugged(flags) || (!flags.take_space() && *this == headered());
  }
  friend constexpr bool operator==(const Layout&, const Layout&) = default;
};

// Exact n / d for n < 2^22 and 8 <= d <= 2^22 by one multiplication.
struct Reciprocal {
  std::uint64_t multiplier = 0;
  static constexpr Reciprocal of(std::uint32_t d) {
    return {((std::uint64_t{1} << 42) + d - 1) / d};
  }
  constexpr std::uint32_t divide(std::uint32_t n) const {
    return static_cast<std::uint32_t>((n * multiplier) >> 42);
  }
};

struct SizeClass {
  std::uint32_t usable_bytes = 0;
  std::uint32_t stride_bytes = 0;
  std::uint32_t slab_units = 0;   // 64 KiB units a slab of this class takes: a power of two, 1..32
  std::uint32_t capacity = 0;     // blocks per slab
  std::uint32_t align_bytes = 0;  // every payload of the class is aligned to this
  Reciprocal reciprocal;
};

// Usable sizes of the default classes: 8, 16, then steps of 16 to 64, then four steps per doubling
// to 128 KiB.
constexpr std::array<std::uint32_t, kMaxClasses> default_usable_sizes(std::uint32_t* count) {
  std::array<std::uint32_t, kMaxClasses> sizes{};
  std::uint32_t n = 0;
  sizes[n++] = 8;
  for (std::uint32_t s = 16; s <= 64; s += 16) sizes[n++] = s;
  for (std::uint32_t base = 64; base < kLargestClassBytes; base *= 2)
    for (std::uint32_t step = 1; step <= 4; ++step) sizes[n++] = base + step * (base / 4);
  *count = n;
  return sizes;
}

// What the run of an arena is.
enum class SlabKind : std::uint8_t { kNone = 0, kSlab = 1, kSpan = 2 };

// How a run is cut into blocks: all that follows from its kind, its class and its units. Only
// Geometry makes them, so each of these facts is computed in one place.
struct RunShape {
  SlabKind kind = SlabKind::kNone;  // kNone: there is no such run
  ClassId cls;                      // kSpanClass for a span
  std::uint32_t units = 0;          // 1..32; of a span also whole superslabs
  std::uint32_t capacity = 0;       // blocks; 1 for a span
  std::uint64_t stride_bytes = 0;   // from one block to the next; of a span all of the run
  std::uint64_t usable_bytes = 0;   // payload of one block
  constexpr std::uint64_t bytes() const { return bytes_of_units(units); }
  // A run that is claimed as whole superslabs rather than as units inside one.
  constexpr bool whole_superslabs() const {
    return units > kUnitsPerSuperslab || (kind == SlabKind::kSpan && units == kUnitsPerSuperslab);
  }
  friend constexpr bool operator==(const RunShape&, const RunShape&) = default;
};

// The classes 0 .. count - 1, for a range-based for.
class ClassRange {
 public:
  class Iterator {
   public:
    constexpr explicit Iterator(std::uint32_t number) : number_(number) {}
    constexpr ClassId operator*() const { return {static_cast<std::uint8_t>(number_)}; }
    constexpr Iterator& operator++() {
      ++number_;
      return *this;
    }
    friend constexpr bool operator==(Iterator, Iterator) = default;

   private:
    std::uint32_t number_;
  };
  constexpr explicit ClassRange(std::uint32_t count) : count_(count) {}
  constexpr Iterator begin() const { return Iterator(0); }
  constexpr Iterator end() const { return Iterator(count_); }

 private:
  std::uint32_t count_;
};

class ARENAD_API Geometry {
 public:
  explicit Geometry(Layout layout = Layout::plain());
  // With classes of the caller's own, ascending usable sizes; for tests of the predecessor's table.
  Geometry(Layout layout, const std::vector<std::uint32_t>& usable_sizes);

  const Layout& layout() const { return layout_; }
  std::uint32_t class_count() const { return count_; }
  const SizeClass& size_class(ClassId cls) const { return classes_[cls.value]; }
  // All classes, the smallest first: for (const ClassId cls : geometry.classes()).
  ClassRange classes() const { return ClassRange(count_); }
  bool has_class(ClassId cls) const { return cls.value < count_; }
  std::uint64_t largest_class_bytes() const { return classes_[count_ - 1].usable_bytes; }

  // Smallest class with usable_bytes >= size; size is 1..largest_class_bytes().
  ClassId class_of(std::uint64_t size) const { return class_by_bucket_[bucket(size)]; }

  static std::uint32_t bucket(std::uint64_t size) {
    if (size <= 1024) [[likely]]
      return static_cast<std::uint32_t>((size + 7) >> 3);
    const std::uint64_t s = size - 1;
    const int shift = static_cast<int>(std::bit_width(s)) - 4;
    return 129 + static_cast<std::uint32_t>((shift << 3) + ((s >> shift) & 7));
  }

  // Class for `size` at `align`, or kSpanClass when only a span can serve it. align: 0 or a power
  // of two up to 4096.
  Result<ClassId> class_of(std::uint64_t size, std::uint32_t align) const;

  // Offset of a block's payload from the start of the data file.
  std::uint64_t payload_offset(ClassId cls, Slot slot) const {
    return slot.slab().value * kSlabUnitBytes +
           std::uint64_t{slot.block().value} * size_class(cls).stride_bytes + layout_.header_bytes;
  }

  // A slab of a class that this geometry has.
  RunShape slab_shape(ClassId cls) const;
  // A span of so many units. Span sizes are units inside a superslab, or whole superslabs.
  RunShape span_shape(std::uint32_t units) const;
  // The smallest span with `size` payload bytes, header and trailer beside them.
  RunShape span_for(std::uint64_t size) const;
  // The shape of a run that a ledger, a header or a message names. Kind kNone when this geometry
  // has no such run.
  RunShape run_shape(SlabKind kind, ClassId cls, std::uint32_t units) const;

  // Offset of a block's payload from the start of the data file.
  std::uint64_t payload_offset(const RunShape& shape, Slot slot) const {
    return slot.slab().value * kSlabUnitBytes + slot.block().value * shape.stride_bytes +
           layout_.header_bytes;
  }
  // Number of the block in which a byte of a run lies.
  std::uint32_t block_at(const RunShape& shape, std::uint64_t offset_in_run) const {
    if (shape.kind != SlabKind::kSlab) return static_cast<std::uint32_t>(offset_in_run != 0);
    return size_class(shape.cls).reciprocal.divide(static_cast<std::uint32_t>(offset_in_run));
  }

  // Units of 64 KiB that a span of `size` payload bytes takes, header and trailer included. Beyond
  // one superslab they are whole superslabs.
  std::uint64_t span_units(std::uint64_t size) const;

 private:
  static constexpr std::uint32_t kBuckets =
      256;  // in steps of 8 B to 1 KiB, then eight steps per doubling
  void build(const std::vector<std::uint32_t>& usable_sizes);

  Layout layout_;
  std::uint32_t count_ = 0;
  std::array<SizeClass, kMaxClasses> classes_{};
  std::array<ClassId, kBuckets> class_by_bucket_{};
};

}  // namespace arenad
