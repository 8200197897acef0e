// Refs taken apart and put together, of arenas of up to 32 GiB. No test has a larger one, but for
// those of RefLayout itself.
#pragma once

#include <cstdint>

#include "allocator/format/block_word.h"
#include "allocator/format/ids.h"
#include "allocator/format/ref_layout.h"

namespace arenad {

constexpr Slot slot_of(Ref ref) { return kSmallRefs.slot_of(ref); }
constexpr std::uint32_t generation_of(Ref ref) { return kSmallRefs.generation_of(ref); }
constexpr Ref ref_of(std::uint32_t generation, ArenaId arena, Slot slot) {
  const RefLayout refs(arena, 1);
  return refs.ref_of(slot, BlockWord(refs.free_word(generation)));
}

}  // namespace arenad
