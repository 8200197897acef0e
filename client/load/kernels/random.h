// Random: a generator (xorshift64*) that is cheap enough for a measured loop, about a nanosecond.
//
// Invariants: the same seed gives the same sequence. A seed of 0 is replaced, because xorshift
//   would return 0 for ever.
// Threads: one owner. Crash: private.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace arenad::load {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed != 0 ? seed : 0x9e3779b97f4a7c15u) {}

  std::uint64_t next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545f4914f6cdd1du;
  }

  // 0 .. bound-1, from the generator's high half, by one multiplication. `bound` is below 2^32.
  static std::uint32_t below(std::uint32_t random_bits, std::uint32_t bound) {
    return static_cast<std::uint32_t>((std::uint64_t{random_bits} * bound) >> 32);
  }
  std::uint32_t below(std::uint32_t bound) {
    return below(static_cast<std::uint32_t>(next() >> 32), bound);
  }

  // 0 .. count-1 in random order.
  std::vector<std::uint32_t> permutation(std::uint32_t count) {
    std::vector<std::uint32_t> order(count);
    for (std::uint32_t i = 0; i < count; ++i) order[i] = i;
    for (std::uint32_t i = count; i > 1; --i) std::swap(order[i - 1], order[below(i)]);
    return order;
  }

 private:
  std::uint64_t state_;
};

}  // namespace arenad::load
