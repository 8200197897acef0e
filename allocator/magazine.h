// Magazine: a heap's small per-class stack of block slots, the only thing the fast path touches beside the block word.
//
// Invariants: entries are Ref values without generation (arena | slot), so an entry plus the word's generation is a ref.
//   Each entry's word is FREE. count <= capacity.
// Threads: private to a heap's owner. Crash: a hint; recovery rebuilds it from the words.
#pragma once

#include <cstdint>
#include <memory>

namespace arenad {

struct alignas(64) Magazine {
  std::uint64_t* entries = nullptr;        // `capacity` of them, owned by storage; null until the first refill
  std::uint32_t count = 0;
  std::uint32_t capacity = 0;              // flushes half when full
  std::uint32_t batch = 0;                 // how many a refill brings
  std::uint32_t stride = 0;
  std::uint64_t allocs = 0;                // monotonic: blocks handed out
  std::uint64_t local_frees = 0;           // monotonic: blocks of own slabs freed here
  std::uint64_t allocs_at_tick = 0;        // allocs at the last idle tick: unchanged means nobody needs the entries
  std::unique_ptr<std::uint64_t[]> storage;
};

}  // namespace arenad
