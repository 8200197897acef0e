// The block word: the 64-bit truth about one block.
//
//   63..62  tag         FREE | HELD | RETURNING | SHARED
//   61..40  generation  from the arena's random first one, a step on at each free; never reset.
//                       A step is 1. In arenas over 32 GiB, whose refs have fewer bits for it, a
//                       step is a larger power of two, and the bits below stay 0 (ref_layout.h)
//   39..0   HELD, RETURNING: holder session 16, leak tag 24
//           SHARED: one bit for each of 40 sharers
//           FREE: 0
//
// Invariants: every change is one atomic step. So a process that is killed between two instructions
// leaves a legal word.
//   FREE -> HELD        owner heap only, a release store; nobody else may touch FREE
//   HELD -> FREE        owner heap only: a store in FastHeap::free, else a CAS; next generation
//   HELD -> RETURNING   anybody else, CAS from the exact word, next generation
//   RETURNING -> FREE   owner heap only, a store in the drain
//   HELD(a) -> HELD(b)  anybody, CAS from the exact word (take-over)
//   HELD(a) -> SHARED   a, CAS. SHARED gains and loses sharers by CAS. The last sharer makes the
//                       word FREE (owner) or RETURNING, next generation
// The generation grows at the free itself. So a second free of the same ref fails, on tag or on
// generation.
// Threads: pure values. Crash: see above.
#pragma once

#include <atomic>
#include <compare>
#include <cstdint>

#include "ids.h"

namespace arenad {

// By how much a free raises the generation in a word's bits, and which bits the generations of the
// arena use.
struct GenerationStep {
  std::uint64_t bits;
  std::uint64_t mask;
};

enum class BlockTag : std::uint8_t { kFree = 0, kHeld = 1, kReturning = 2, kShared = 3 };

// Who a block is given to: the session, and a label of the caller's for leak attribution. The
// word's low 40 bits.
class Holder {
 public:
  static constexpr std::uint32_t kMaxTag = (1u << 24) - 1;

  constexpr Holder() : Holder(kNoSession, 0) {}
  // `tag` is at most kMaxTag; what is above is cut off, so callers refuse it first.
  constexpr Holder(SessionId session, std::uint32_t tag)
      : word_(kHeldBit | std::uint64_t{session.value} << kSessionShift | (tag & kMaxTag)) {}

  constexpr SessionId session() const {
    return {static_cast<std::uint16_t>(word_ >> kSessionShift)};
  }
  constexpr std::uint32_t tag() const { return static_cast<std::uint32_t>(word_) & kMaxTag; }
  constexpr std::uint64_t bits() const { return word_ & ~kHeldBit; }  // a word's low 40
  constexpr std::uint64_t held_word() const { return word_; }         // of a block of generation 0
  constexpr Holder tagged(std::uint32_t tag) const {                  // of one without a tag
    Holder h = *this;
    h.word_ |= tag & kMaxTag;
    return h;
  }
  friend constexpr auto operator<=>(Holder, Holder) = default;  // by session, then by tag

 private:
  friend class BlockWord;
  static constexpr int kSessionShift = 24;
  static constexpr std::uint64_t kHeldBit = std::uint64_t{1} << 62;  // the tag HELD
  std::uint64_t word_;  // one number, ready to be added: put together in memory it cost the fast
                        // path a trip through the stack
};

class BlockWord {
 public:
  static constexpr int kTagShift = 62;
  static constexpr int kGenerationShift = 40;
  static constexpr std::uint64_t kGenerationOne = std::uint64_t{1} << kGenerationShift;
  static constexpr std::uint32_t kMaxGeneration = 0x3fffff;
  static constexpr std::uint64_t kGenerationMask = std::uint64_t{kMaxGeneration}
                                                   << kGenerationShift;
  static constexpr std::uint64_t kLowMask = kGenerationOne - 1;
  static constexpr std::uint64_t kReturningBit = std::uint64_t{2} << kTagShift;
  static constexpr std::uint64_t kSharedBits = std::uint64_t{3} << kTagShift;

  constexpr explicit BlockWord(std::uint64_t bits) : bits_(bits) {}

  constexpr std::uint64_t bits() const { return bits_; }
  constexpr BlockTag tag() const { return static_cast<BlockTag>(bits_ >> kTagShift); }
  // In the word's own steps; RefLayout::number_of counts frees.
  constexpr std::uint32_t generation() const {
    return static_cast<std::uint32_t>(bits_ >> kGenerationShift) & kMaxGeneration;
  }
  constexpr Holder holder() const {
    return {{static_cast<std::uint16_t>(bits_ >> Holder::kSessionShift)},
            static_cast<std::uint32_t>(bits_) & Holder::kMaxTag};
  }
  constexpr bool is_free() const {
    return (bits_ & ~kGenerationMask) == 0;
  }  // and nothing below the generation
  constexpr bool is_held() const { return tag() == BlockTag::kHeld; }
  // HELD, and of this generation.
  constexpr bool is_held_of(std::uint32_t generation) const {
    return bits_ >> kGenerationShift == (generation | Holder::kHeldBit >> kGenerationShift);
  }
  constexpr bool is_returning() const { return tag() == BlockTag::kReturning; }
  constexpr bool is_shared() const { return tag() == BlockTag::kShared; }
  constexpr std::uint64_t sharers() const { return bits_ & kLowMask; }

  static constexpr std::uint64_t free_in(std::uint32_t generation) {
    return std::uint64_t{generation} << kGenerationShift;
  }
  static constexpr std::uint64_t free_of(std::uint64_t bits) { return bits & kGenerationMask; }
  static constexpr std::uint64_t held(std::uint64_t free_bits, Holder h) {
    return free_bits + h.held_word();
  }
  // FREE, of the next generation. `step` is the arena's (ref_layout.h).
  static constexpr std::uint64_t freed(std::uint64_t bits, GenerationStep step) {
    return (bits + step.bits) & step.mask;
  }
  static constexpr std::uint64_t shared(std::uint64_t bits, std::uint64_t sharers) {
    return (bits & kGenerationMask) | kSharedBits | sharers;
  }
  static constexpr std::uint64_t returning(std::uint64_t bits, SessionId freer,
                                           GenerationStep step) {
    return freed(bits, step) | kReturningBit | std::uint64_t{freer.value} << Holder::kSessionShift;
  }

 private:
  std::uint64_t bits_;
};

using AtomicWord = std::atomic<std::uint64_t>;
static_assert(sizeof(AtomicWord) == 8 && AtomicWord::is_always_lock_free);

// Brings a word's cache line here to be written, if there is one at that address. prefetchw does
// nothing on processors without it; the compiler's builtin would bring the line for reading only,
// and the CAS would have to ask again.
inline void prefetch_to_change(const AtomicWord* word) {
#ifdef __x86_64__
  asm volatile("prefetchw %0" : : "m"(*word));
#else
  __builtin_prefetch(word, 1);
#endif
}

}  // namespace arenad
