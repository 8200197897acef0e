// SparseBits: a set of numbers below a bound, for large bounds of which little is used.
//
// Purpose: who looks for members pays for what was ever used, and not for the bound. A bit of an
//   upper level stands for 64 bits of the level below. Memory is taken only where bits were set.
// Invariants: an upper bit is set before the bits below it, and stays set for ever. So a search
//   never misses a member that was there when the search began and stays until its end. A search
//   costs at most 8 words of the highest level and one word for each 64 neighbours that have or had
//   a member.
// Threads: any, lock-free. Crash: private memory.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>

#include "zeroed_array.h"

namespace arenad {

class SparseBits {
 public:
  // Numbers below `bound`, which is not 0.
  explicit SparseBits(std::uint32_t bound)
      : bound_(bound),
        words_(words_of(bound, 0) + words_of(bound, 1) + words_of(bound, kTop)),
        levels_{&words_[0], &words_[words_of(bound, 0)],
                &words_[words_of(bound, 0) + words_of(bound, 1)]} {}

  std::uint32_t bound() const { return bound_; }
  // relaxed: a hint. Whoever acts on the bit changes it first.
  bool test(std::uint32_t i) const {
    return (word(0, i).load(std::memory_order_relaxed) & mask(i)) != 0;
  }
  // Answers whether the bit was clear. acq_rel, here and in clear(): pairs with clear(), set() and
  // the loads of next_at(). What was done before, such as giving memory back, is finished for
  // whoever sees the bit changed.
  bool set(std::uint32_t i) {
    for (std::uint32_t level = kTop; level > 0; --level) {
      const std::uint32_t upper = i >> (6 * level);
      // relaxed: the bit is never cleared, so whoever sees it need not set it.
      if ((word(level, upper).load(std::memory_order_relaxed) & mask(upper)) == 0)
        word(level, upper).fetch_or(mask(upper), std::memory_order_acq_rel);
    }
    return (word(0, i).fetch_or(mask(i), std::memory_order_acq_rel) & mask(i)) == 0;
  }
  // Answers whether the bit was set.
  bool clear(std::uint32_t i) {
    return (word(0, i).fetch_and(~mask(i), std::memory_order_acq_rel) & mask(i)) != 0;
  }

  // The lowest member that is not below `from`; bound() when there is none.
  std::uint32_t next(std::uint32_t from) const { return next_at<0>(from); }
  // The lowest number not below `from` that is no member; bound() when there is none. Looks at one
  // word for each 64 members on the way.
  std::uint32_t next_clear(std::uint32_t from) const {
    while (from < bound_) {
      // relaxed: a hint, as in test().
      const std::uint64_t clear = ~word(0, from).load(std::memory_order_relaxed) >> (from % 64);
      if (clear != 0) return from + lowest(clear);  // bits from the bound on stay clear
      from = (from / 64 + 1) * 64;
    }
    return bound_;
  }

 private:
  using Word = std::atomic<std::uint64_t>;
  static constexpr std::uint32_t kTop = 2;  // the highest level; level 0 has the members

  // A level has a bit for each word of the level below.
  static constexpr std::uint32_t bits_of(std::uint32_t bound, std::uint32_t level) {
    return ((bound - 1) >> (6 * level)) + 1;
  }
  static constexpr std::uint32_t words_of(std::uint32_t bound, std::uint32_t level) {
    return bits_of(bound, level + 1);
  }
  static constexpr std::uint64_t mask(std::uint32_t bit) { return std::uint64_t{1} << (bit % 64); }
  static std::uint32_t lowest(std::uint64_t word) {
    return static_cast<std::uint32_t>(std::countr_zero(word));
  }
  Word& word(std::uint32_t level, std::uint32_t bit) const { return levels_[level][bit / 64]; }

  template <std::uint32_t Level>
  std::uint32_t next_at(std::uint32_t from) const {
    const std::uint32_t bits = bits_of(bound_, Level);
    while (from < bits) {
      const std::uint64_t members =
          word(Level, from).load(std::memory_order_acquire) >> (from % 64);
      if (members != 0) return from + lowest(members);
      from = from / 64 + 1;
      if constexpr (Level < kTop) from = next_at<Level + 1>(from);
      from *= 64;
    }
    return bits;
  }

  const std::uint32_t bound_;
  ZeroedArray<Word> words_;
  const std::array<Word*, kTop + 1> levels_;
};

}  // namespace arenad
