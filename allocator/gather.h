// RemoteGather: frees of other heaps' blocks, collected so that many to one returned word go out as one fetch_or.
//
// Purpose: a small direct-mapped table of (returned word, bits). What it evicts, its owner publishes.
// Invariants: a bit in here has a RETURNING word whose returned bit is not set yet by us.
// Threads: private to a heap's owner. Crash: the bits are lost; reap finds RETURNING(dead) in the words and sets them.
#pragma once

#include <array>
#include <cstdint>

#include "allocator/ids.h"

namespace arenad {

class RemoteGather {
 public:
  // One returned word: key = slot / 64 names slab and word at once (see Slot).
  struct Entry {
    std::uint64_t key = 0;
    std::uint64_t bits = 0;
  };

  // Adds a block. Returns what must be published now: an entry with bits when another word stood in its place, or when
  // the block's own word is complete; else one without bits.
  Entry add(Slot slot) {
    const std::uint64_t key = slot.value >> 6;
    const std::uint64_t bit = std::uint64_t{1} << (slot.value & 63);
    Entry& e = table_[(key ^ key >> 10) % kEntries];
    if (e.key == key) {
      e.bits |= bit;
      if (e.bits != ~std::uint64_t{0}) return {};
      const Entry full = e;
      e.bits = 0;
      return full;
    }
    const Entry evicted = e;
    e = {key, bit};
    return evicted;
  }

  bool empty() const {
    std::uint64_t any = 0;
    for (const Entry& e : table_) any |= e.bits;
    return any == 0;
  }

  template <class F>
  void take_all(F&& publish) {
    for (Entry& e : table_) {
      if (e.bits == 0) continue;
      const Entry full = e;
      e.bits = 0;
      publish(full);
    }
  }

 private:
  static constexpr std::size_t kEntries = 16;
  std::array<Entry, kEntries> table_{};
};

}  // namespace arenad
