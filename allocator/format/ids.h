// Strong types for ids that could be mixed up, and the 64-bit ref.
//
// Invariants: a Ref was checked against its arena's bounds. What comes from the wire or from shared
// memory is an UntrustedRef until ArenaView::validate accepts it.
// Threads: pure values. Crash: nothing is shared.
#pragma once

#include <compare>
#include <cstdint>

namespace arenad {

inline constexpr std::uint64_t kSlabUnitBytes = 64 * 1024;
inline constexpr std::uint64_t kSuperslabBytes = 2 * 1024 * 1024;
inline constexpr std::uint32_t kUnitsPerSuperslab = kSuperslabBytes / kSlabUnitBytes;  // 32
inline constexpr std::uint32_t kMaxBlocksPerSlab = 8192;  // 64 KiB of 8-byte blocks
inline constexpr std::uint32_t kMaxClasses = 64;          // size classes of an arena

template <class Tag, class Rep>
struct StrongId {
  Rep value{};
  friend constexpr auto operator<=>(StrongId, StrongId) = default;
};

using SessionId = StrongId<struct SessionTag, std::uint16_t>;  // 0 is nobody; 65535 is the reaper
using HeapId = StrongId<struct HeapTag, std::uint16_t>;        // 65535 is nobody
using ArenaId = StrongId<struct ArenaTag, std::uint16_t>;      // 1..1023
using ShardId = StrongId<struct ShardTag, std::uint16_t>;      // 0..255; its heaps have this number
using SlabIndex = StrongId<struct SlabTag,
                           std::uint32_t>;  // 64 KiB unit of the data file in which the slab starts
using BlockIndex = StrongId<struct BlockIndexTag, std::uint32_t>;  // 0..8191 in its slab
using SuperslabIndex = StrongId<struct SuperslabTag, std::uint32_t>;
using ClassId = StrongId<struct ClassTag, std::uint8_t>;  // a size class of an arena, from 0

inline constexpr ArenaId kNoArena{0};
inline constexpr SessionId kNoSession{0};
inline constexpr SessionId kReaperSession{65535};
inline constexpr HeapId kNoHeap{65535};
inline constexpr std::uint16_t kMaxArenaId = 1023;
inline constexpr ClassId kSpanClass{255};  // of a span, which has no size class

constexpr std::uint64_t bytes_of_units(std::uint64_t units) { return units * kSlabUnitBytes; }
constexpr SuperslabIndex superslab_of(SlabIndex unit) { return {unit.value / kUnitsPerSuperslab}; }
constexpr SlabIndex first_unit_of(SuperslabIndex superslab) {
  return {superslab.value * kUnitsPerSuperslab};
}
// The unit's bit in a mask of the units of its superslab.
constexpr std::uint32_t unit_bit_of(SlabIndex unit) {
  return std::uint32_t{1} << (unit.value % kUnitsPerSuperslab);
}

// The number of a block's word in the control file's word section, at most 39 bits.
//
// Words lie interleaved so that pages of control memory fill densely whatever the class: within a
// group of eight slab units (512 KiB of data) page k holds words 64k..64k+63 of each of the eight.
// So the bits of a slot are
//     38..16 slab / 8 | 15..9 block / 64 | 8..6 slab % 8 | 5..0 block % 64
// and the word's address is `words + slot`: no arithmetic at all between a ref and its truth.
struct Slot {
  static constexpr int kBits = 39;  // of the largest arena

  std::uint64_t value{};

  static constexpr Slot of(SlabIndex slab, BlockIndex block) {
    const std::uint64_t s = slab.value, b = block.value;
    return {(s >> 3) << 16 | (b >> 6) << 9 | (s & 7) << 6 | (b & 63)};
  }
  constexpr SlabIndex slab() const {
    return {static_cast<std::uint32_t>((value >> 16) << 3 | ((value >> 6) & 7))};
  }
  constexpr BlockIndex block() const {
    return {static_cast<std::uint32_t>(((value >> 9) & 127) << 6 | (value & 63))};
  }
  friend constexpr auto operator<=>(Slot, Slot) = default;
};

// 64-bit portable handle of one allocation of a block: 63..54 arena | generation | slot. Where the
// generation begins depends on the arena's size (ref_layout.h).
struct Ref {
  static constexpr int kArenaShift = 54;

  std::uint64_t value{};

  static constexpr std::uint64_t arena_bits(ArenaId arena) {
    return std::uint64_t{arena.value} << kArenaShift;
  }
  constexpr ArenaId arena() const { return {static_cast<std::uint16_t>(value >> kArenaShift)}; }
  friend constexpr auto operator<=>(Ref, Ref) = default;
};

// The same 64 bits before anybody looked at them.
struct UntrustedRef {
  std::uint64_t value{};
};

}  // namespace arenad
