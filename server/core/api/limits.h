// Limits: what one daemon serves at most.
//
// Threads: a value. Crash: nothing is shared.
#pragma once

#include <cstdint>

#include "allocator/arena/arena.h"

namespace arenad::server {

// Heap ids of an arena: shards have those below the first of peers.
inline constexpr HeapId kFirstPeerHeap{256};
inline constexpr std::uint32_t kHeapIds = 2048;

struct Limits {
  std::uint32_t max_sessions = 4096;                  // at most 65534
  std::uint32_t max_arenas = 256;                     // at most 1023
  std::uint64_t max_arena_bytes = kMaxArenaBytes;     // capacity of one arena
  std::uint64_t max_total_bytes = ~std::uint64_t{0};  // sum of all capacities
  std::uint64_t max_session_bytes = 0;  // that one session may hold, sum of strides; 0: no limit
};

}  // namespace arenad::server
