// FastHeap: the inline part of a heap. It allocates from magazines and frees into them.
//
// Purpose: the two fast paths, small enough that a public header can include them. A fast path
// touches a magazine, a row and one block word. Everything else leaves through a *_slow function,
// which Heap answers (heap.h).
// Invariants:
// * A FastHeap is always the base of a Heap. The slow functions rely on this.
// * An entry (arena | slot) in a magazine has a FREE word.
// * A row that names a magazine belongs to a slab of this heap. The magazine of that row has
//   storage, and each of the row's 64 blocks lies inside the slab.
// * A slab leaves the heap only when no magazine has a block of it (slab_table.h). So, whatever a
//   peer writes into block words, what leaves a magazine is inside a slab of this heap, and of the
//   magazine's class.
// Threads: one thread at a time owns a heap. Only the owner calls these functions. Others change
// the block words at the same time; the comments at the atomics say why that is right.
// Crash: magazines and rows are private. Recovery rebuilds them from the block words. A kill
// between the pop and the store of HELD leaves a FREE block.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "../base/crash_point.h"
#include "../base/error.h"
#include "../base/export.h"
#include "../format/block_word.h"
#include "../format/ids.h"
#include "../format/ref_layout.h"
#include "allocation.h"
#include "magazine.h"

namespace arenad {

class ARENAD_API FastHeap {
 public:
  FastHeap(const FastHeap&) = delete;
  FastHeap& operator=(const FastHeap&) = delete;

  // Allocates one block of at least `size` bytes (1 .. the arena's capacity). The payload is
  // aligned to 16 bytes; the 8-byte class is aligned to 8. Errors: kInvalidSize, kArenaFull,
  // kMachineFull, kQuarantined, and those of the heap's SlabSource.
  Result<Allocation> allocate(std::uint64_t size, Holder holder) {
    // The seven largest sizes overflow to step 0. Step 0 is also the step of size 0, which is
    // refused.
    const std::uint64_t step = (size + 7) / 8;
    if (step > kSmallSteps) [[unlikely]]
      return allocate_large_slow(size, holder);
    Magazine& m = magazine_at(magazine_of_small_[step]);
    if (m.top == m.bottom) [[unlikely]]
      return allocate_small_slow(m, size, holder);
    return pop(m, holder);
  }

  // Frees a block. The ref must come from an allocation of this process or from a validated
  // message. A free of another heap's block is gathered; Heap::publish announces what is gathered.
  // Errors: kForeignRef, kDoubleFree, kStaleRef; kNotHolder when the block is shared.
  Error free(Ref ref);

 private:
  friend class Heap;

  // What the fast paths know of the rows of this heap's slabs. A row is 64 blocks of one slab that
  // share a returned word. Both tables are indexed by slot / 64.
  struct Rows {
    // What is to be added to a block's entry * stride for its payload offset, modulo 2^64.
    const std::uint64_t* offsets;
    // The magazine_position of the row's class. Below 1, as a signed number, when a free of the
    // row's blocks must take the slow path: the row has fewer than 64 blocks (kPartRow), the heap
    // serves others, or the row is of a span, of an arena with debug flags, or of no slab of this
    // heap.
    const std::uint16_t* magazines;
  };

  // Sizes up to 1024 bytes find their magazine in a table, in steps of 8 bytes.
  static constexpr std::uint64_t kSmallSteps = 1024 / 8;

  FastHeap(const RefLayout& refs, std::uint64_t slot_limit, AtomicWord* words, Rows rows)
      : words_(words),
        words_bias_(reinterpret_cast<std::uintptr_t>(words) -
                    refs.arena_bits() * sizeof(AtomicWord)),
        row_offsets_bias_(reinterpret_cast<std::uintptr_t>(rows.offsets) -
                          refs.arena_bits() / 64 * sizeof(std::uint64_t)),
        row_magazines_(rows.magazines),
        refs_(refs),
        slot_limit_(slot_limit),
        small_slot_limit_(refs.slot_bits() == kSmallRefs.slot_bits() ? slot_limit : 0) {}
  ~FastHeap() = default;

  // The slow exits. Heap defines them (heap.cc).
  Result<Allocation> allocate_large_slow(std::uint64_t size, Holder holder);
  Result<Allocation> allocate_small_slow(Magazine& m, std::uint64_t size, Holder holder);
  Result<Allocation> damaged_word_slow(std::uint64_t entry);
  Error free_slow(Ref ref);
  Error free_outside_slow(Ref ref);
  void make_room_slow(Magazine& m);

  // The free of a block whose slot is one of the arena's. `refs` is the arena's layout, or as that.
  Error free_slot(const RefLayout& refs, Slot slot, Ref ref);

  // Takes the next block of a magazine that is not empty.
  Result<Allocation> pop(Magazine& m, Holder holder);

  Magazine& magazine_at(std::uint64_t position) {
    return *reinterpret_cast<Magazine*>(reinterpret_cast<std::byte*>(magazines_.data()) + position);
  }
  Magazine& magazine_of(ClassId cls) { return magazines_[cls.value + 1u]; }
  const Magazine& magazine_of(ClassId cls) const { return magazines_[cls.value + 1u]; }
  // Payload offset of the block of an entry. The block is of a slab of this heap.
  std::uint64_t offset_of(std::uint64_t entry, std::uint32_t stride) const {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): a biased address lies outside of its table
    return *reinterpret_cast<const std::uint64_t*>(row_offsets_bias_ +
                                                   (entry >> 6) * sizeof(std::uint64_t)) +
           entry * stride;
  }
  // Word of the block of an entry.
  AtomicWord& word_of(std::uint64_t entry) const {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): as above
    return *reinterpret_cast<AtomicWord*>(words_bias_ + entry * sizeof(AtomicWord));
  }

  AtomicWord* const words_;
  // The two biased addresses are the table's address less the arena's bits. So an entry is an index
  // as it is, and the arena's bits need not be taken out of it.
  const std::uintptr_t words_bias_;
  const std::uintptr_t row_offsets_bias_;
  const std::uint16_t* const row_magazines_;
  const RefLayout refs_;
  const std::uint64_t slot_limit_;        // slots of the arena
  const std::uint64_t small_slot_limit_;  // the same; 0 when the arena's refs are not kSmallRefs'
  // By size / 8, rounded up: the magazine_position of the class.
  std::array<std::uint16_t, kSmallSteps + 1> magazine_of_small_{};
  // By class + 1. The first one is always empty. It stands for sizes that have no magazine, and so
  // leads them to the slow path.
  std::array<Magazine, kMaxClasses + 1> magazines_;
  static_assert(sizeof(magazines_) <= UINT16_MAX);  // positions have 16 bits
};

inline Result<Allocation> FastHeap::pop(Magazine& m, Holder holder) {
  const std::uint64_t entry = *--m.top;
  AtomicWord& word = word_of(entry);
  const std::uint64_t free_bits = word.load(std::memory_order_relaxed);
  // By the constant of small arenas. Heap::allocate_any looks closer in large ones.
  if (!kSmallRefs.is_free(BlockWord(free_bits))) [[unlikely]]
    return damaged_word_slow(entry);
  CRASH_POINT("allocate.word");
  // FREE -> HELD. release: pairs with the acquire loads of the word in ArenaView::describe and
  // acquire, and in the reaper. Only this heap may change a FREE word, so a plain store is enough.
  // A kill before the store leaves the block FREE and in nobody's hand.
  word.store(BlockWord::held(free_bits, holder), std::memory_order_release);
  const Ref ref = RefLayout::ref_of(entry, free_bits);
  // An entry contains its arena's number, which is not 0. Saying so spares callers their test of
  // ok().
  if (ref.value == 0) __builtin_unreachable();
  return Allocation{ref, offset_of(entry, m.stride)};
}

inline Error FastHeap::free(Ref ref) {
  // In arenas of up to 32 GiB the layout of refs is a constant. Read from memory it cost a third of
  // a pair of allocate and free. Larger arenas have a limit of 0 here.
  const Slot slot{kSmallRefs.entry_of(ref) - refs_.arena_bits()};
  if (slot.value >= small_slot_limit_) [[unlikely]]
    return free_outside_slow(ref);
  return free_slot(kSmallRefs, slot, ref);
}

inline Error FastHeap::free_slot(const RefLayout& refs, Slot slot, Ref ref) {
  const std::int64_t magazine = static_cast<std::int16_t>(row_magazines_[slot.value >> 6]);
  AtomicWord& word = words_[slot.value];
  // relaxed: nothing is read that the block's holder wrote. The exact comparison below decides.
  const std::uint64_t bits = word.load(std::memory_order_relaxed);
  const std::uint32_t generation = refs.generation_of(ref);
  if (magazine <= 0 || !BlockWord(bits).is_held_of(generation)) [[unlikely]]
    return free_slow(ref);
  CRASH_POINT("free.own_word");
  // HELD -> FREE. A plain store where DESIGN.md has a CAS. allocator/README.md, "The owner's own
  // free", has the argument and the figures. release: pairs with the acquire of a take-over or a
  // remote free that finds FREE.
  word.store(BlockWord::free_in(refs.after(generation)), std::memory_order_release);
  Magazine& m = magazine_at(static_cast<std::uint64_t>(magazine));
  std::uint64_t* const top = m.freed_top;
  *top = refs.entry_of(ref);
  m.freed_top = top + 1;
  if (top + 1 == m.freed_limit) [[unlikely]]
    make_room_slow(m);
  return Error::kNone;
}

}  // namespace arenad
