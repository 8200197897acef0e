// PayloadWipe: overwrites payloads, in arenas that ask for it.
//
// Purpose: with `zero` a block reads as zeros when it is handed out. With `scrub` its bytes are
//   overwritten when it comes home, before anybody else can get it. With debug flag P both is done,
//   with bytes that are easy to recognise.
// Invariants: a block is wiped by the heap that owns its slab, while nobody has the block. So a
//   wipe destroys nothing, and may be made twice. A block that was carved and is FREE without a
//   wipe exists only where a process was killed between the two; the adopter wipes all that it
//   finds FREE.
// Threads: the heap's owner. Crash: see above.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "../arena/arena_view.h"

namespace arenad {

class PayloadWipe {
 public:
  explicit PayloadWipe(const ArenaView& arena)
      : data_(arena.data()),
        poisons_(arena.options().debug.poison),
        at_allocate_(arena.options().zero || poisons_),
        at_home_(arena.options().scrub || poisons_) {}

  bool at_allocate() const { return at_allocate_; }
  bool at_home() const { return at_home_; }
  // `offset` is the payload's in the data file. Only when at_home, or at_allocate.
  void wipe(std::uint64_t offset, std::uint64_t bytes) const {
    std::memset(data_ + offset, poisons_ ? kPoisonHome : 0, bytes);
  }
  void wipe_for_holder(std::uint64_t offset, std::uint64_t bytes) const {
    std::memset(data_ + offset, poisons_ ? kPoisonNew : 0, bytes);
  }

 private:
  std::byte* const data_;
  const bool poisons_, at_allocate_, at_home_;
};

}  // namespace arenad
