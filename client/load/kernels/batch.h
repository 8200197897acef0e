// batch and shuffled: allocate 1000 blocks, free all of them, repeat.
//
// Purpose: Batch frees last in, first out. Shuffled frees in a random order. It uses eight
//   permutations in turn, so that no branch predictor learns the order. These loops show the cost
//   of refilling and flushing magazines, and the cache lines of metadata.
// Invariants: nothing is held between two calls of run().
// Threads: the context's. Crash: up to `count` blocks are held.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "client/load/kernels/context.h"
#include "client/load/kernels/random.h"

namespace arenad::load {

inline constexpr std::uint32_t kBatchBlocks = 1000;

template <AllocatorContext C>
class Batch {
 public:
  explicit Batch(C& context, std::uint32_t count = kBatchBlocks,
                 std::size_t block_bytes = kBlockBytes)
      : context_(context), block_bytes_(opaque(block_bytes)), handles_(count) {}

  // Performs whole batches until at least `operations` blocks were allocated and freed. Returns the
  // number of blocks.
  std::uint64_t run(std::uint64_t operations) {
    C& context = context_;  // local copies: see Pair
    const std::size_t block_bytes = block_bytes_;
    const std::span handles(handles_);
    std::uint64_t done = 0;
    while (done < operations) {
      for (auto& handle : handles) handle = context.allocate(block_bytes);
      for (std::size_t i = handles.size(); i > 0; --i) context.free(handles[i - 1]);
      context.flush();
      done += handles.size();
    }
    return done;
  }

  void finish() { context_.flush(); }

 private:
  C& context_;
  std::size_t block_bytes_;
  std::vector<typename C::Handle> handles_;
};

template <AllocatorContext C>
class Shuffled {
 public:
  explicit Shuffled(C& context, std::uint64_t seed, std::uint32_t count = kBatchBlocks,
                    std::size_t block_bytes = kBlockBytes)
      : context_(context), block_bytes_(opaque(block_bytes)), handles_(count) {
    Random random(seed);
    for (auto& order : orders_) order = random.permutation(count);
  }

  // As Batch::run.
  std::uint64_t run(std::uint64_t operations) {
    C& context = context_;  // local copies: see Pair
    const std::size_t block_bytes = block_bytes_;
    const std::span handles(handles_);
    std::uint64_t done = 0;
    while (done < operations) {
      for (auto& handle : handles) handle = context.allocate(block_bytes);
      for (std::uint32_t i : orders_[next_order_++ % orders_.size()]) context.free(handles[i]);
      context.flush();
      done += handles.size();
    }
    return done;
  }

  void finish() { context_.flush(); }

 private:
  C& context_;
  std::size_t block_bytes_;
  std::vector<typename C::Handle> handles_;
  std::array<std::vector<std::uint32_t>, 8> orders_;
  std::size_t next_order_ = 0;
};

}  // namespace arenad::load
