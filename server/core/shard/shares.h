// HeldShare: what one shard has counted of somebody's blocks.
//
// Purpose: the unit in which shards answer "who holds how much".
// Invariants: a share of one shard says nothing alone. A block that was allocated here and freed on
//   another shard leaves +1 here and -1 there. Only the sum over all shards is a number of blocks.
// Threads: plain values. Crash: nothing is shared.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "allocator/format/ids.h"

namespace arenad::server {

struct HeldShare {
  std::int64_t blocks = 0;
  std::int64_t bytes = 0;  // sum of strides
  void add(std::int64_t more_blocks, std::int64_t more_bytes) {
    blocks += more_blocks;
    bytes += more_bytes;
  }
  HeldShare& operator+=(const HeldShare& o) {
    add(o.blocks, o.bytes);
    return *this;
  }
};

// The shares of all sessions in one arena.
using SharesBySession = std::vector<std::pair<SessionId, HeldShare>>;
// The shares of one session in all arenas.
using SharesByArena = std::vector<std::pair<ArenaId, HeldShare>>;

// How full an arena is, summed over all shards by a trim round. Error messages quote it.
struct UsageSummary {
  std::uint64_t held_bytes = 0;
  std::uint64_t committed_bytes = 0;
  std::uint64_t leased_bytes = 0;
  // "session 3 'cam' 40 MiB in 40 blocks, ..."; empty when nobody holds anything.
  std::string biggest_holders;
};

}  // namespace arenad::server
