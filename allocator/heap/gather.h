// RemoteGather: frees of other heaps' blocks, collected so that many to one returned word go out as
// one fetch_or.
//
// Purpose: a small direct-mapped table of (returned word, bits). What it evicts, its owner
// publishes. Invariants: a bit in here has a RETURNING word whose returned bit is not set yet by
// us. Threads: private to a heap's owner. Crash: the bits are lost; reap finds RETURNING(dead) in
// the words and sets them.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <utility>

#include "allocator/format/ids.h"

namespace arenad {

class RemoteGather {
 public:
  // One returned word: key = slot / 64 names slab and word at once (see Slot).
  struct Entry {
    std::uint64_t key = 0;
    std::uint64_t bits = 0;
  };

  // Adds a block. Returns what must be published now: an entry with bits when another word stood in
  // its place, or when the block's own word is complete; else one without bits.
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
  // So many blocks have been added since take_all that their owners should hear of them.
  bool overdue() const { return gathered_ >= kOverdue; }

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
