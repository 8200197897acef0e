// pair: allocate one block, free it, repeat. It measures the latency of the fast path and nothing
// else.
//
// Invariants: nothing is held between two calls of run().
// Threads: the context's. Crash: at most one block is held.
#pragma once

#include <cstddef>
#include <cstdint>

#include "client/load/kernels/context.h"

namespace arenad::load {

template <AllocatorContext C>
class Pair {
 public:
  explicit Pair(C& context, std::size_t block_bytes = kBlockBytes)
      : context_(context), block_bytes_(opaque(block_bytes)) {}

  // Performs `operations` allocations, each freed at once. Returns how many it did.
  std::uint64_t run(std::uint64_t operations) {
    C& context = context_;  // a local copy: members would be loaded again after each operation
    const std::size_t block_bytes = block_bytes_;
    for (std::uint64_t i = 0; i < operations; ++i) context.free(context.allocate(block_bytes));
    return operations;
  }

  void finish() { context_.flush(); }

 private:
  C& context_;
  std::size_t block_bytes_;
};

}  // namespace arenad::load
