// churn: 10,000 live blocks of 16 to 1024 B. Each operation frees a random block and allocates
// another block of a random size.
//
// Purpose: mixed sizes, over a working set that does not fit the inner caches.
// Invariants: from construction to finish() exactly `live` blocks are held.
// Threads: the context's. Crash: `live` blocks are held.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "client/load/kernels/context.h"
#include "client/load/kernels/random.h"

namespace arenad::load {

inline constexpr std::uint32_t kChurnLiveBlocks = 10'000;
inline constexpr std::uint32_t kChurnMinBytes = 16;
inline constexpr std::uint32_t kChurnMaxBytes = 1024;

// Frees a random block of `handles` and allocates a block of a random size in its place.
template <AllocatorContext C>
inline void replace_random(C& context, typename C::Handle* handles, std::uint32_t count,
                           Random& random) {
  const std::uint64_t bits = random.next();
  const std::uint32_t victim = Random::below(static_cast<std::uint32_t>(bits >> 32), count);
  const std::uint32_t bytes = kChurnMinBytes + Random::below(static_cast<std::uint32_t>(bits),
                                                             kChurnMaxBytes - kChurnMinBytes + 1);
  context.free(handles[victim]);
  handles[victim] = context.allocate(bytes);
}

// Fills `handles` with blocks of random sizes.
template <AllocatorContext C>
inline void fill_random(C& context, typename C::Handle* handles, std::uint32_t count,
                        Random& random) {
  for (std::uint32_t i = 0; i < count; ++i)
    handles[i] =
        context.allocate(kChurnMinBytes + random.below(kChurnMaxBytes - kChurnMinBytes + 1));
}

template <AllocatorContext C>
class Churn {
 public:
  explicit Churn(C& context, std::uint64_t seed, std::uint32_t live = kChurnLiveBlocks)
      : context_(context), random_(seed), handles_(live) {
    fill_random(context_, handles_.data(), live, random_);
  }

  std::uint64_t run(std::uint64_t operations) {
    C& context = context_;  // local copies: see Pair
    Random random = random_;
    typename C::Handle* const handles = handles_.data();
    const auto count = static_cast<std::uint32_t>(handles_.size());
    for (std::uint64_t i = 0; i < operations; ++i) replace_random(context, handles, count, random);
    random_ = random;
    return operations;
  }

  // Frees the working set. Call it last.
  void finish() {
    for (auto handle : handles_) context_.free(handle);
    handles_.clear();
    context_.flush();
  }

 private:
  C& context_;
  Random random_;
  std::vector<typename C::Handle> handles_;
};

}  // namespace arenad::load
