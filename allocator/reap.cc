// Reap: gives back everything a dead session held. See DESIGN.md section 4, rule 6, and arena.h.
//
// Each step is one CAS or one fetch_or; a reaper that dies is simply run again: what it turned is RETURNING(reaper), which
// a second run announces again.
#include <algorithm>

#include "allocator/arena.h"

namespace arenad {

ReapResult Arena::reap(SessionId dead) {
  ReapResult result;
  mark_session(dead, SessionEntry::kReaping);
  for (std::uint32_t s = 0; s < units_.superslab_count(); ++s) {
    if (!units_.committed({s})) continue;
    for (std::uint32_t u = s * kUnitsPerSuperslab; u < (s + 1) * kUnitsPerSuperslab; ++u) {
      const SlabIndex slab{u};
      const SlabHeader& h = view_.slab(slab);
      const SlabShape shape{h.shape.load(std::memory_order_acquire)};
      if (shape.kind() == SlabKind::kNone) continue;
      const bool span = shape.kind() == SlabKind::kSpan;
      if (!span && shape.cls() >= geometry_.class_count()) continue;  // verify reports it
      const std::uint64_t stride =
          span ? shape.units() * kSlabUnitBytes : geometry_.size_class(shape.cls()).stride_bytes;
      const std::uint32_t capacity = span ? 1 : geometry_.size_class(shape.cls()).capacity;
      const std::uint32_t carved = std::min(h.carved.load(std::memory_order_acquire), capacity);
      for (std::uint32_t first = 0; first < carved; first += 64) {
        std::uint64_t bits = 0;
        for (std::uint32_t b = first; b < std::min(first + 64, carved); ++b) {
          AtomicWord& w = word(Slot::of(slab, {b}));
          std::uint64_t seen = w.load(std::memory_order_acquire);
          if (BlockWord(seen).is_held() && BlockWord(seen).holder().session == dead) {
            // The one CAS of a free. It fails only when somebody else took or freed the block first, which is right too.
            if (w.compare_exchange_strong(seen, BlockWord::returning(seen, kReaperSession), std::memory_order_acq_rel)) {
              bits |= std::uint64_t{1} << (b - first);
              ++result.blocks;
              result.bytes += stride;
            }
          } else if (BlockWord(seen).is_returning() &&
                     (BlockWord(seen).holder().session == dead || BlockWord(seen).holder().session == kReaperSession)) {
            bits |= std::uint64_t{1} << (b - first);  // its bit may have died with the freer
            ++result.announced;
          }
        }
        // A freer that found the word non-zero relied on somebody who may be the dead one: announce every such word.
        const std::uint64_t key = Slot::of(slab, {first}).value >> 6;
        if (bits != 0 || view_.returned(slab, first / 64).load(std::memory_order_acquire) != 0) publish_returned(key, bits, true);
      }
    }
  }
  mark_session(dead, SessionEntry::kNone);
  return result;
}

}  // namespace arenad
