// The block word: the 64-bit truth about one block.
//
//   63..62  tag         FREE | HELD | RETURNING | SHARED
//   61..48  generation  from the arena's random first one, +1 at every free, never reset
//   47..0   HELD, RETURNING: holder session 16, leak tag 32
//           SHARED: one bit for each of 48 sharers
//           FREE: 0
//
// Invariants: every change is one atomic step. So a process that is killed between two instructions
// leaves a legal word.
//   FREE -> HELD        owner heap only, a release store; nobody else may touch FREE
//   HELD -> FREE        owner heap only: a store in FastHeap::free, else a CAS; generation + 1
//   HELD -> RETURNING   anybody else, CAS from the exact word, generation + 1
//   RETURNING -> FREE   owner heap only, a store in the drain
//   HELD(a) -> HELD(b)  anybody, CAS from the exact word (take-over)
//   HELD(a) -> SHARED   a, CAS. SHARED gains and loses sharers by CAS. The last sharer makes the
//                       word FREE (owner) or RETURNING, generation + 1
// The generation grows at the free itself. So a second free of the same ref fails, on tag or on
// generation.
// Threads: pure values. Crash: see above.
#pragma once

#include <atomic>
#include <compare>
#include <cstdint>

#include "ids.h"

namespace arenad {

enum class BlockTag : std::uint8_t { kFree = 0, kHeld = 1, kReturning = 2, kShared = 3 };

// Who a block is given to: the session, and a label of the caller's for leak attribution. The
// word's low 48 bits.
class Holder {
 public:
  constexpr Holder() : Holder(kNoSession, 0) {}
  constexpr Holder(SessionId session, std::uint32_t tag)
      : word_(kHeldBit | std::uint64_t{session.value} << 32 | tag) {}

  constexpr SessionId session() const { return {static_cast<std::uint16_t>(word_ >> 32)}; }
  constexpr std::uint32_t tag() const { return static_cast<std::uint32_t>(word_); }
  constexpr std::uint64_t bits() const { return word_ & ~kHeldBit; }  // a word's low 48
  constexpr std::uint64_t held_word() const { return word_; }         // of a block of generation 0
  constexpr Holder tagged(std::uint32_t tag) const {                  // of one without a tag
    Holder h = *this;
    h.word_ |= tag;
    return h;
  }
  friend constexpr auto operator<=>(Holder, Holder) = default;  // by session, then by tag

 private:
  static constexpr std::uint64_t kHeldBit = std::uint64_t{1} << 62;  // the tag HELD
  std::uint64_t word_;  // one number, ready to be added: put together in memory it cost the fast
                        // path a trip through the stack
};

class BlockWord {
 public:
  static constexpr int kTagShift = 62;
  static constexpr int kGenerationShift = 48;
  static constexpr std::uint64_t kGenerationOne = std::uint64_t{1} << kGenerationShift;
  static constexpr std::uint16_t kMaxGeneration = 0x3fff;
  static constexpr std::uint64_t kGenerationMask = std::uint64_t{kMaxGeneration}
                                                   << kGenerationShift;
  static constexpr std::uint64_t kLowMask = kGenerationOne - 1;
  static constexpr std::uint64_t kReturningBit = std::uint64_t{2} << kTagShift;
  static constexpr std::uint64_t kSharedBits = std::uint64_t{3} << kTagShift;

  constexpr explicit BlockWord(std::uint64_t bits) : bits_(bits) {}

  constexpr std::uint64_t bits() const { return bits_; }
  constexpr BlockTag tag() const { return static_cast<BlockTag>(bits_ >> kTagShift); }
  constexpr std::uint16_t generation() const {
    return static_cast<std::uint16_t>((bits_ >> kGenerationShift) & kMaxGeneration);
  }
  constexpr Holder holder() const {
    return {{static_cast<std::uint16_t>(bits_ >> 32)}, static_cast<std::uint32_t>(bits_)};
  }
  constexpr bool is_free() const {
    return (bits_ & ~kGenerationMask) == 0;
  }  // and nothing below the generation
  constexpr bool is_held() const { return tag() == BlockTag::kHeld; }
  constexpr bool is_returning() const { return tag() == BlockTag::kReturning; }
  constexpr bool is_shared() const { return tag() == BlockTag::kShared; }
  constexpr std::uint64_t sharers() const { return bits_ & kLowMask; }

  static constexpr std::uint64_t free_of(std::uint64_t bits) { return bits & kGenerationMask; }
  static constexpr std::uint64_t held(std::uint64_t free_bits, Holder h) {
    return free_bits + h.held_word();
  }
  static constexpr std::uint64_t freed(std::uint64_t bits) {
    return (bits + kGenerationOne) & kGenerationMask;
  }
  static constexpr std::uint64_t shared(std::uint64_t bits, std::uint64_t sharers) {
    return (bits & kGenerationMask) | kSharedBits | sharers;
  }
  static constexpr std::uint64_t returning(std::uint64_t bits, SessionId freer) {
    return freed(bits) | kReturningBit | std::uint64_t{freer.value} << 32;
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
