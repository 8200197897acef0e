// Magazine: a heap's small per-class stack of block slots, the only thing the fast path touches beside the block word.
//
// Invariants: entries are Ref values without generation (arena | slot), so an entry plus the word's generation is a ref.
//   Each entry's word is FREE. bottom <= top <= limit.
// Threads: private to a heap's owner. Crash: a hint; recovery rebuilds it from the words.
#pragma once

#include <cstdint>
#include <memory>

namespace arenad {

struct alignas(64) Magazine {
  std::uint64_t* top = nullptr;            // one past the entry that goes out next
  std::uint64_t* bottom = nullptr;         // equal to top when empty; null until the class's first slab
  std::uint64_t* limit = nullptr;          // bottom + capacity: reaching it flushes half
  std::uint32_t stride = 0;
  std::uint32_t capacity = 0;
  std::uint32_t batch = 0;                 // how many a refill brings
  std::uint32_t cls = 0;
  // Monotonic. allocs() follows from them, so the allocating fast path counts nothing but `top`.
  std::uint64_t filled = 0;                // entries brought by refills
  std::uint64_t local_frees = 0;           // blocks of own slabs freed here
  std::uint64_t flushed = 0;               // entries gone back to free bitmaps
  std::uint64_t allocs_at_tick = 0;        // allocs at the last idle tick: unchanged means nobody needs the entries
  std::unique_ptr<std::uint64_t[]> storage;

  std::uint32_t count() const { return static_cast<std::uint32_t>(top - bottom); }
  std::uint64_t allocs() const { return filled + local_frees - flushed - count(); }
  void make_storage() {
    storage = std::make_unique<std::uint64_t[]>(capacity);
    top = bottom = storage.get();
    limit = bottom + capacity;
  }
};

}  // namespace arenad
