// RemoteGather: gathers frees of other heaps' blocks, so that many bits of one returned word go out
// as one fetch_or.
//
// Purpose: a small direct-mapped table of (returned word, bits). An entry that another word
// displaces comes out, and the caller publishes it.
// Invariants: each bit in the table stands for a block whose word is RETURNING and whose returned
// bit this heap has not set yet.
// Threads: the heap's owner. Crash: the bits are lost. The reaper finds the RETURNING words of the
// dead session and sets their bits.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <utility>

#include "../format/ids.h"

namespace arenad {

class RemoteGather {
 public:
  // One returned word. key is slot / 64, which names the slab and the word at once (see Slot).
  struct Entry {
    std::uint64_t key = 0;
    std::uint64_t bits = 0;
  };

  // Adds a block. Returns what must be published now: the entry of another word that was in this
  // place, or the block's own word when it is complete. An entry without bits means nothing.
  Entry add(Slot slot) {
    const std::uint64_t key = slot.value >> 6;
    const std::uint64_t bit = std::uint64_t{1} << (slot.value & 63);
    const std::uint64_t at = key * 0x9e3779b97f4a7c15 >> (64 - kEntriesLog2);
    Entry& e = table_[at];
    ++gathered_;
    if (e.key == key && e.bits != 0) {
      e.bits |= bit;
      if (e.bits != ~std::uint64_t{0}) return {};
      used_[at / 64] &= ~(std::uint64_t{1} << (at % 64));
      return {key, std::exchange(e.bits, 0)};
    }
    used_[at / 64] |= std::uint64_t{1} << (at % 64);
    return std::exchange(e, Entry{key, bit});
  }

  bool empty() const { return (used_[0] | used_[1]) == 0; }
  // Whether so many blocks were added since take_all that their owners should hear of them.
  bool overdue() const { return gathered_ >= kOverdue; }

  // Empties the table: calls publish(Entry) for each word.
  template <class F>
  void take_all(F&& publish) {
    for (std::size_t w = 0; w < used_.size(); ++w)
      for (std::uint64_t used = std::exchange(used_[w], 0); used != 0; used &= used - 1) {
        Entry& e = table_[w * 64 + static_cast<std::size_t>(std::countr_zero(used))];
        publish(Entry{e.key, std::exchange(e.bits, 0)});
      }
    gathered_ = 0;
  }

 private:
  static constexpr int kEntriesLog2 = 7;
  static constexpr std::uint32_t kOverdue = 1024;
  std::uint32_t gathered_ = 0;
  std::array<std::uint64_t, (1 << kEntriesLog2) / 64> used_{};  // bit i: table_[i] has bits
  std::array<Entry, 1 << kEntriesLog2> table_{};
};

}  // namespace arenad
