// RefLayout: what the refs of one arena look like, and how they belong to block words.
//
//   ref         63..54 arena | 53..N generation | N-1..0 slot
//   entry       a ref without its generation: what magazines keep
//   block word  61..N+8 generation, and 0 below it down to bit 40
//
// N is 32 for arenas of up to 32 GiB. Each doubling beyond that takes one bit more for the slot,
// and leaves one less for the generation: 22 bits up to 32 GiB, 21 at 64 GiB, 15 at 4 TiB. In every
// arena a generation lies eight bits higher in the word than in the ref. So one shift makes the one
// of the other.
//
// Threads: pure values. Crash: nothing is shared.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "block_word.h"
#include "ids.h"

namespace arenad {

class RefLayout {
 public:
  // `slot_limit`: slots of the arena, at most 2^Slot::kBits.
  constexpr RefLayout(ArenaId arena, std::uint64_t slot_limit)
      : arena_bits_(Ref::arena_bits(arena)) {
    const int slot_bits =
        std::max(kLeastSlotBits, static_cast<int>(std::bit_width(slot_limit - 1)));
    step_.bits = std::uint64_t{1} << (slot_bits + kWordAboveRef);
    step_.mask = BlockWord::kGenerationMask & ~(step_.bits - 1);
    not_free_ = ~step_.mask;
    entry_mask_ = ~(step_.mask >> kWordAboveRef);
  }

  // What a free adds to a word's generation.
  constexpr GenerationStep step() const { return step_; }
  // The number of generations, after which they begin again at 0.
  constexpr std::uint32_t generations() const {
    return static_cast<std::uint32_t>(step_.mask / step_.bits) + 1;
  }
  // A word's generation as a number; grows by one at every free.
  constexpr std::uint32_t number_of(BlockWord word) const {
    return static_cast<std::uint32_t>((word.bits() & step_.mask) / step_.bits);
  }
  // A FREE word of the generation with this number.
  constexpr std::uint64_t free_word(std::uint32_t number) const {
    return (number * step_.bits) & step_.mask;
  }

  // Bits of a ref's slot.
  constexpr int slot_bits() const { return std::countr_zero(step_.bits) - kWordAboveRef; }

  // --- entries

  constexpr std::uint64_t arena_bits() const { return arena_bits_; }
  constexpr std::uint64_t entry_of(Slot slot) const { return arena_bits_ | slot.value; }
  constexpr std::uint64_t entry_of(Ref ref) const { return ref.value & entry_mask_; }
  // The slot of an entry, which is of any arena. Not of a ref.
  static constexpr Slot slot_of_entry(std::uint64_t entry) {
    return {entry & ((std::uint64_t{1} << Ref::kArenaShift) - 1)};
  }

  // Whether a heap may give out a block with this word: FREE, of a generation that frees make.
  constexpr bool is_free(BlockWord word) const { return (word.bits() & not_free_) == 0; }

  // --- refs

  // The ref of a block. `free_word` is its FREE word, whose other bits are 0.
  static constexpr Ref ref_of(std::uint64_t entry, std::uint64_t free_word) {
    return {free_word >> kWordAboveRef | entry};
  }
  // The ref of a block, by any word of it.
  constexpr Ref ref_of(Slot slot, BlockWord word) const {
    return ref_of(entry_of(slot), word.bits() & step_.mask);
  }
  constexpr Slot slot_of(Ref ref) const { return slot_of_entry(entry_of(ref)); }
  constexpr SlabIndex slab_of(Ref ref) const { return slot_of(ref).slab(); }
  // The generation that a word of the ref's has (BlockWord::generation).
  constexpr std::uint32_t generation_of(Ref ref) const {
    return static_cast<std::uint32_t>(ref.value >> kLeastSlotBits) & generation_mask();
  }
  // Whether the word is of the ref's generation.
  constexpr bool is_of(Ref ref, BlockWord word) const {
    return word.generation() == generation_of(ref);
  }
  // The generation that a free begins.
  constexpr std::uint32_t after(std::uint32_t generation) const {
    const auto step = static_cast<std::uint32_t>(step_.bits >> BlockWord::kGenerationShift);
    return (generation + step) & generation_mask();
  }
  // The ref that the block had before its last free.
  constexpr Ref before(Ref ref) const {
    const auto step = static_cast<std::uint32_t>(step_.bits >> BlockWord::kGenerationShift);
    const std::uint64_t generation = (generation_of(ref) - step) & generation_mask();
    const std::uint64_t mask = std::uint64_t{generation_mask()} << kLeastSlotBits;
    return {(ref.value & ~mask) | generation << kLeastSlotBits};
  }

 private:
  static constexpr int kLeastSlotBits = 32;
  static constexpr int kWordAboveRef = 8;
  static_assert(kLeastSlotBits + kWordAboveRef == BlockWord::kGenerationShift);
  static_assert(Ref::kArenaShift + kWordAboveRef == BlockWord::kTagShift);

  constexpr std::uint32_t generation_mask() const {
    return static_cast<std::uint32_t>(step_.mask >> BlockWord::kGenerationShift);
  }

  std::uint64_t arena_bits_;
  GenerationStep step_{};
  std::uint64_t not_free_ = 0;    // of a word
  std::uint64_t entry_mask_ = 0;  // of a ref
};

// The layout of all arenas of up to 32 GiB, but for the arena's number.
inline constexpr RefLayout kSmallRefs{kNoArena, 1};

}  // namespace arenad
