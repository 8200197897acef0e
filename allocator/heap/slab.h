// SlabState: what a heap knows privately about one of its slabs or spans.
//
// Invariants:
// * free_count == popcount(free_bits). Bits are set only below carved.
// * A block whose free bit is set has a FREE word and is in no magazine.
// * carved - free_count blocks are out of the slab: held, shared, returning or cached.
// * A block is away when somebody outside of the heap has it: held, shared or returning. A heap
//   that serves other processes knows which blocks are away, and who pays for each. In another heap
//   every carved block without a free bit is away or in the class's magazine.
// Threads: private to the heap's owner. Crash: a hint; recovery rebuilds it from the words.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "../arena/block_debug.h"
#include "../format/ids.h"
#include "away_blocks.h"

namespace arenad {

struct SlabState {
  SlabIndex slab;           // the first unit
  bool is_span = false;     // one block that takes all units
  ClassId cls;              // kSpanClass for a span
  std::uint32_t units = 0;  // of 64 KiB
  std::uint32_t capacity = 0;
  std::uint32_t carved = 0;
  std::uint32_t free_count = 0;
  std::uint32_t first_free_word = 0;  // no bit is set in a word below this one
  bool announced = false;             // in the Drainer's list of its class
  std::uint64_t stride_bytes = 0;
  std::uint64_t usable_bytes = 0;    // of each block
  std::uint64_t payload_offset = 0;  // of block 0, in the data file
  std::size_t position = 0;          // in SlabTable's list of all slabs
  bool listed = false;               // in its class's list of slabs that have blocks to give
  SlabState* prev = nullptr;
  SlabState* next = nullptr;
  std::unique_ptr<std::uint64_t[]> free_bits;
  std::optional<AwayBlocks> away;          // of a heap that serves others
  std::unique_ptr<Holder[]> last_holders;  // to whom blocks went; null without debug flag P

  std::uint32_t word_count() const { return (capacity + 63) / 64; }
  std::uint64_t bytes() const { return bytes_of_units(units); }
  std::uint32_t out() const { return carved - free_count; }
  bool has_any() const { return free_count != 0 || carved < capacity; }

  // Whether a carved block can be away, by what the heap knows privately. Exact in a heap that
  // serves others, and in other heaps while the magazine of the class is empty.
  bool can_be_away(BlockIndex block) const {
    if (away) return away->has(block);
    return (free_bits[block.value / 64] & std::uint64_t{1} << (block.value % 64)) == 0;
  }

  BlockPlace place_of(BlockIndex block) const {
    return {Slot::of(slab, block), payload_offset + block.value * stride_bytes, usable_bytes};
  }

  // Puts a block into the free bitmap. False when the block was there already.
  bool put_free(BlockIndex block) {
    std::uint64_t& word = free_bits[block.value / 64];
    const std::uint64_t bit = std::uint64_t{1} << (block.value % 64);
    if ((word & bit) != 0) return false;
    word |= bit;
    ++free_count;
    if (block.value / 64 < first_free_word) first_free_word = block.value / 64;
    return true;
  }

  // Takes free blocks of the first bitmap word that has any: at most `most`, so at most 64. Returns
  // their bits, and in `first_block` the block that bit 0 stands for. There must be a free block.
  std::uint64_t take_free(std::uint32_t most, std::uint32_t* first_block) {
    while (free_bits[first_free_word] == 0) ++first_free_word;
    std::uint64_t& word = free_bits[first_free_word];
    std::uint64_t taken = word;
    if (static_cast<std::uint32_t>(std::popcount(taken)) > most) {
      std::uint64_t rest = taken;
      for (std::uint32_t i = 0; i < most; ++i) rest &= rest - 1;
      taken &= ~rest;
    }
    word &= ~taken;
    free_count -= static_cast<std::uint32_t>(std::popcount(taken));
    *first_block = first_free_word * 64;
    return taken;
  }
};

// Intrusive list of the slabs of one class that have blocks to give, the most recently used first.
class SlabList {
 public:
  SlabState* front() const { return head_; }
  void push_front(SlabState* s) {
    s->prev = nullptr;
    s->next = head_;
    if (head_ != nullptr) head_->prev = s;
    head_ = s;
    s->listed = true;
  }
  void remove(SlabState* s) {
    (s->prev != nullptr ? s->prev->next : head_) = s->next;
    if (s->next != nullptr) s->next->prev = s->prev;
    s->prev = s->next = nullptr;
    s->listed = false;
  }

 private:
  SlabState* head_ = nullptr;
};

}  // namespace arenad
