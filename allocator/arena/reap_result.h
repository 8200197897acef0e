// ReapResult: what the end of a session gave back.
//
// Threads: pure values. Crash: nothing is shared.
#pragma once

#include <cstdint>

namespace arenad {

struct ReapResult {
  // HELD(dead) that became RETURNING or FREE, and SHARED blocks whose last sharer was dead.
  std::uint64_t blocks = 0;
  std::uint64_t bytes = 0;          // sum of their strides
  std::uint64_t announced = 0;      // returned bits that were set again
  std::uint64_t adopted_slabs = 0;  // runs taken over; some of them were given back at once
  std::uint64_t runs = 0;           // runs whose words the reaper has read
  ReapResult& operator+=(const ReapResult& o) {
    blocks += o.blocks;
    bytes += o.bytes;
    announced += o.announced;
    adopted_slabs += o.adopted_slabs;
    runs += o.runs;
    return *this;
  }
};

}  // namespace arenad
