#include "allocator/heap/slab_checks.h"

#include <bit>

#include "allocator/base/format.h"

namespace arenad {

const char* slab_fault(const ArenaView& arena, HeapId id, const SlabState& slab) {
  const SlabHeader& header = arena.control().slab(slab.slab);
  const SlabShape shape = SlabShape::of(slab.is_span ? SlabKind::kSpan : SlabKind::kSlab, slab.cls,
                                        slab.units, slab.capacity);
  // relaxed: only this heap writes these fields while the slab is its own.
  if (header.shape.load(std::memory_order_relaxed) != shape.bits)
    return "the header of its slab has another shape";
  if (header.owner.load(std::memory_order_relaxed) != id.value)
    return "the header of its slab names another heap";
  if (header.carved.load(std::memory_order_relaxed) != slab.carved)
    return "the header of its slab has another count of carved blocks";
  std::uint32_t free = 0;
  for (std::uint32_t w = 0; w < slab.word_count(); ++w) {
    free += static_cast<std::uint32_t>(std::popcount(slab.free_bits[w]));
    if (slab.away && (slab.free_bits[w] & slab.away->bits(w)) != 0)
      return "a block of its slab is free and away at once";
  }
  if (free != slab.free_count || free > slab.carved)
    return "the count of free blocks of its slab is wrong";
  return nullptr;
}

bool slab_passes(ArenaView& arena, const BlockDebug& debug, HeapId id, const SlabState& slab,
                 Ref ref, const char* what) {
  if (!debug.flags().checks) return true;
  const char* const fault = slab_fault(arena, id, slab);
  if (fault == nullptr) return true;
  const BlockWord word{arena.word(arena.refs().slot_of(ref)).load(std::memory_order_relaxed)};
  debug.found(ref, fmt::format("{} by heap {}: {}; {}", what, id.value, fault, state_text(word)));
  arena.quarantine([&] { return fmt::format("ref 0x{:016x}: {}", ref.value, fault); });
  return false;
}

}  // namespace arenad
