// Magazine: a heap's stack of free blocks of one class.
//
// Purpose: the fast path touches nothing but a magazine, a row and the block word. A magazine is
// two stacks. Allocations pop from one, frees push on the other. They change places when the first
// is empty. So a free's store of a stack pointer never feeds the load of the next allocation, for
// which the processor would have to wait. Invariants:
// * Entries are Ref values without a generation (arena | slot). An entry plus the word's generation
//   is a ref.
// * The word of each entry is FREE.
// * bottom <= top <= bottom + capacity; likewise for the freed stack.
// Threads: the heap's owner. Crash: a hint; recovery rebuilds it from the words.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>

#include "../format/ids.h"

namespace arenad {

struct alignas(64) Magazine {
  std::uint64_t* top = nullptr;        // allocations: one past the entry that goes out next
  std::uint64_t* bottom = nullptr;     // equal to top when empty; null until the class's first slab
  std::uint64_t* freed_top = nullptr;  // frees: one past the last entry
  std::uint64_t* freed_limit = nullptr;  // reaching it makes room
  std::uint64_t* freed_bottom = nullptr;
  std::uint64_t* freed_mark = nullptr;  // frees below it are in counted_frees
  std::uint32_t stride = 0;
  std::uint32_t capacity = 0;  // of each stack
  std::uint32_t batch = 0;     // how many a refill brings
  ClassId cls;
  // The next three only grow. local_frees() and allocs() follow from them and from the stack
  // pointers, so the fast paths count nothing.
  std::uint64_t counted_frees = 0;   // blocks of own slabs freed here, until freed_mark
  std::uint64_t filled = 0;          // entries brought by refills
  std::uint64_t flushed = 0;         // entries gone back to free bitmaps
  std::uint64_t allocs_at_tick = 0;  // allocs at the last idle tick; the same now: not needed
  std::unique_ptr<std::uint64_t[]> storage;

  std::uint32_t freed_count() const { return static_cast<std::uint32_t>(freed_top - freed_bottom); }
  std::uint32_t count() const { return static_cast<std::uint32_t>(top - bottom) + freed_count(); }
  std::uint64_t local_frees() const {
    return counted_frees + static_cast<std::uint64_t>(freed_top - freed_mark);
  }
  std::uint64_t allocs() const { return filled + local_frees() - flushed - count(); }
  void make_storage() {
    storage = std::make_unique<std::uint64_t[]>(std::size_t{2} * capacity);
    top = bottom = storage.get();
    freed_top = freed_mark = freed_bottom = bottom + capacity;
    freed_limit = freed_bottom + capacity;
  }
  void swap_stacks() {
    counted_frees = local_frees();
    std::swap(top, freed_top);
    std::swap(bottom, freed_bottom);
    freed_limit = freed_bottom + capacity;
    freed_mark = freed_top;
  }
  // The `count` oldest entries of the freed stack leave.
  void drop_freed(std::uint32_t count) {
    counted_frees = local_frees();
    std::memmove(freed_bottom, freed_bottom + count,
                 (freed_count() - count) * sizeof(freed_bottom[0]));
    freed_mark = freed_top -= count;
    flushed += count;
  }
  // Calls f(entry) for each entry of both stacks.
  template <class F>
  void for_each(F&& f) const {
    for (const std::uint64_t* e = bottom; e != top; ++e) f(*e);
    for (const std::uint64_t* e = freed_bottom; e != freed_top; ++e) f(*e);
  }
};

// Where the magazine of a class lies in a heap's array of magazines, in bytes. Position 0 has the
// magazine that is always empty.
constexpr std::uint16_t magazine_position(ClassId cls) {
  return static_cast<std::uint16_t>((cls.value + 1) * sizeof(Magazine));
}

}  // namespace arenad
