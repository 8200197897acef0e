// RowTables: what the fast paths look up of each row of a heap's slabs.
//
// Purpose: a row is 64 blocks of one slab that share a returned word. One table has the row's
// payload offset, the other the row's magazine. FastHeap::Rows tells what the entries mean.
// Invariants: rows of slabs that the heap does not have name no magazine.
// Threads: the heap's owner. Crash: private memory; recovery makes the tables anew.
#pragma once

#include <cstdint>

#include "../base/zeroed_array.h"
#include "../format/ids.h"
#include "slab.h"

namespace arenad {

class RowTables {
 public:
  // Tables for `slot_limit` slots of the arena. They cost no memory where no slab was entered.
  RowTables(ArenaId arena, std::uint64_t slot_limit)
      : arena_bits_(Ref::arena_bits(arena)),
        offsets_(slot_limit / 64),
        magazines_(slot_limit / 64) {}

  const std::uint64_t* offsets() const { return &offsets_[0]; }
  const std::uint16_t* magazines() const { return &magazines_[0]; }

  // What is added to the magazine of a row that has fewer than 64 blocks. A free there takes the
  // slow path, which compares the block with the slab's private count.
  static constexpr std::uint16_t kPartRow = 0x8000;

  // Enters the rows of a slab. `magazine` is the position of its magazine; 0 when frees of the
  // slab's blocks must take the slow path.
  void set(const SlabState& slab, std::uint16_t magazine) {
    std::uint64_t offset = slab.payload_offset;
    for (std::uint32_t w = 0; w < slab.word_count(); ++w, offset += 64 * slab.stride_bytes) {
      const std::uint64_t first = Slot::of(slab.slab, {w * 64}).value;
      offsets_[first / 64] = offset - (arena_bits_ | first) * slab.stride_bytes;
      const bool part = (w + 1) * 64 > slab.capacity && magazine != 0;
      magazines_[first / 64] = static_cast<std::uint16_t>(magazine | (part ? kPartRow : 0));
    }
  }
  // From now on no free of the slab's blocks is a fast one. The offsets stay; nobody uses them.
  void clear(const SlabState& slab) {
    for (std::uint32_t w = 0; w < slab.word_count(); ++w)
      magazines_[Slot::of(slab.slab, {w * 64}).value / 64] = 0;
  }
  // Payload offset of the block of an entry (arena | slot), as the fast path computes it.
  std::uint64_t offset_of(std::uint64_t entry, std::uint64_t stride_bytes) const {
    return offsets_[(entry - arena_bits_) / 64] + entry * stride_bytes;
  }

 private:
  const std::uint64_t arena_bits_;
  ZeroedArray<std::uint64_t> offsets_;
  ZeroedArray<std::uint16_t> magazines_;
};

}  // namespace arenad
