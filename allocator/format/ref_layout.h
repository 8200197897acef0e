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
    generation_mask_ = BlockWord::kGenerationMask & ~(step_.bits - 1);
    entry_mask_ = ~(generation_mask_ >> kWordAboveRef);
  }

  ArenaId arena() const { return Ref{arena_bits_}.arena(); }
  // What a free adds to a word's generation.
  constexpr GenerationStep step() const { return step_; }
  // The number of generations, after which they begin again at 0.
  constexpr std::uint32_t generations() const {
    return static_cast<std::uint32_t>(generation_mask_ / step_.bits) + 1;
  }
  // A word's generation as a number; grows by one at every free.
  constexpr std::uint32_t number_of(BlockWord word) const {
    return static_cast<std::uint32_t>((word.bits() & generation_mask_) / step_.bits);
  }
  // A FREE word of the generation with this number.
  constexpr std::uint64_t free_word(std::uint32_t number) const {
    return (number * step_.bits) & generation_mask_;
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
  constexpr bool is_free(BlockWord word) const { return (word.bits() & ~generation_mask_) == 0; }

  // --- refs

  // The ref of a block. `free_word` is its FREE word, whose other bits are 0.
  static constexpr Ref ref_of(std::uint64_t entry, std::uint64_t free_word) {
    return {free_word >> kWordAboveRef | entry};
  }
  // The ref of a block, by any word of it.
  constexpr Ref ref_of(Slot slot, BlockWord word) const {
    return ref_of(entry_of(slot), word.bits() & generation_mask_);
  }
  constexpr Slot slot_of(Ref ref) const { return slot_of_entry(entry_of(ref)); }
  constexpr SlabIndex slab_of(Ref ref) const { return slot_of(ref).slab(); }
  // A ref's generation where a word has it; the word's other bits are 0.
  constexpr std::uint64_t generation_of(Ref ref) const {
    return (ref.value << kWordAboveRef) & generation_mask_;
  }
  // Whether the word is of the ref's generation.
  constexpr bool is_of(Ref ref, BlockWord word) const {
    return (word.bits() & BlockWord::kGenerationMask) == generation_of(ref);
  }

 private:
  static constexpr int kLeastSlotBits = 32;
  static constexpr int kWordAboveRef = 8;
  static_assert(kLeastSlotBits + kWordAboveRef == BlockWord::kGenerationShift);
  static_assert(Ref::kArenaShift + kWordAboveRef == BlockWord::kTagShift);

  std::uint64_t arena_bits_;
  GenerationStep step_{};
  std::uint64_t generation_mask_ = 0;  // in a word
  std::uint64_t entry_mask_ = 0;       // in a ref
};

}  // namespace arenad
