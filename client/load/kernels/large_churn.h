// large churn: blocks of 64 KiB to 32 MiB, of random sizes, with a bound on the bytes that live.
//
// Purpose: tells how often an allocation fails, although the arena is much larger than what lives.
//   Each doubling of the size is equally likely, so most blocks are small and most bytes are in
//   large blocks.
// Invariants: the sizes of the blocks that live add up to at most `live_bytes`. A failed allocation
//   is counted, and the run goes on.
// Threads: the context's. Crash: the live blocks are held.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "client/load/kernels/context.h"
#include "client/load/kernels/random.h"

namespace arenad::load {

inline constexpr std::uint32_t kLargeChurnMinBytes = 64 << 10;
inline constexpr std::uint32_t kLargeChurnDoublings = 9;  // to 32 MiB

template <LargeContext C>
class LargeChurn {
 public:
  LargeChurn(C& context, std::uint64_t seed, std::uint64_t live_bytes)
      : context_(context), random_(seed), most_live_bytes_(live_bytes) {}

  // Each operation frees random blocks until the next block has room, and allocates that block.
  std::uint64_t run(std::uint64_t operations) {
    for (std::uint64_t i = 0; i < operations; ++i) {
      const std::uint32_t least = kLargeChurnMinBytes << random_.below(kLargeChurnDoublings);
      const std::uint32_t bytes = least + random_.below(least);
      while (live_bytes_ + bytes > most_live_bytes_) free_random();
      if (const auto handle = context_.try_allocate(bytes)) {
        blocks_.push_back({*handle, bytes});
        live_bytes_ += bytes;
      } else {
        ++failed_;
      }
    }
    attempts_ += operations;
    return operations;
  }

  std::uint64_t attempts() const { return attempts_; }
  std::uint64_t failed() const { return failed_; }

  // Frees the working set. Call it last.
  void finish() {
    while (!blocks_.empty()) free_random();
    context_.flush();
  }

 private:
  struct Live {
    typename C::Handle handle;
    std::uint32_t bytes;
  };

  void free_random() {
    Live& victim = blocks_[random_.below(static_cast<std::uint32_t>(blocks_.size()))];
    context_.free(victim.handle);
    live_bytes_ -= victim.bytes;
    victim = blocks_.back();
    blocks_.pop_back();
  }

  C& context_;
  Random random_;
  std::uint64_t most_live_bytes_;
  std::uint64_t live_bytes_ = 0, attempts_ = 0, failed_ = 0;
  std::vector<Live> blocks_;
};

}  // namespace arenad::load
