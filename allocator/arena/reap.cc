// Reap: gives back what a dead session held in slabs that are not its own. See DESIGN.md section 4,
// rule 6, and arena.h. Its own are adopted (heap/adopter.h).
//
// Bits that stand without anybody behind them are the danger: whoever frees later sees them and
// tells nobody. A dead freer may leave one at any level, even where the block it was for is home
// already. So a level is announced again where its bit stands, not only where a block waits: the
// slab's bit in its superslab, and the pending words of all heaps (found by tests/model).
//
// Each step is one CAS or one fetch_or; a reaper that dies is simply run again: what it turned is
// RETURNING(reaper), which a second run announces again.
#include <algorithm>

#include "allocator/arena/arena.h"
#include "allocator/base/crash_point.h"

namespace arenad {
namespace {

// What a block word of the dead becomes; 0 when it stays as it is.
std::uint64_t without(SessionId dead, std::uint64_t dead_bits, BlockWord word) {
  if (word.is_held() && word.holder().session() == dead)
    return BlockWord::returning(word.bits(), kReaperSession);
  if (!word.is_shared() || (word.sharers() & dead_bits) == 0) return 0;
  const std::uint64_t left = word.sharers() & ~dead_bits;
  return left != 0 ? BlockWord::shared(word.bits(), left)
                   : BlockWord::returning(word.bits(), kReaperSession);
}

}  // namespace

ReapResult Arena::reap(SessionId dead, const Footprint* touched) {
  ReapResult result;
  mark_session(dead, SessionEntry::kReaping);
  const std::uint64_t dead_bits = sharer_bits(dead);
  for_each_run([&](SlabIndex slab, RunRecord run) {
    if (touched != nullptr && !touched->has(slab)) return;
    const std::uint32_t capacity = shape_of(slab).capacity();
    const std::uint64_t stride = run.kind() == SlabKind::kSpan
                                     ? run.units() * kSlabUnitBytes
                                     : geometry_.size_class(run.cls()).stride_bytes;
    const std::uint32_t carved =
        std::min(view_.slab(slab).carved.load(std::memory_order_acquire), capacity);
    for (std::uint32_t first = 0; first < carved; first += 64) {
      std::uint64_t bits = 0;
      for (std::uint32_t b = first; b < std::min(first + 64, carved); ++b) {
        AtomicWord& w = word(Slot::of(slab, {b}));
        std::uint64_t seen = w.load(std::memory_order_acquire);
        // Somebody else may take or free the block first, or join or leave its sharers: then we
        // look again.
        for (std::uint64_t next; (next = without(dead, dead_bits, BlockWord(seen))) != 0;) {
          CRASH_POINT("reap.word");
          if (!w.compare_exchange_weak(seen, next, std::memory_order_acq_rel,
                                       std::memory_order_acquire))
            continue;
          seen = next;
          if (!BlockWord(next).is_returning()) break;
          ++result.blocks;
          result.bytes += stride;
          break;
        }
        const BlockWord now{seen};
        if (now.is_returning() &&
            (now.holder().session() == dead || now.holder().session() == kReaperSession)) {
          bits |= std::uint64_t{1} << (b - first);  // its bit may have died with the freer
          ++result.announced;
        }
      }
      if (bits != 0) publish_returned(Slot::of(slab, {first}).value >> 6, bits, true);
    }
    // A freer that skipped a level because its bit stood relied on somebody who may be the dead
    // one.
    announce(slab, capacity);
  });
  raise_summaries();
  return result;
}

// Whoever freed them: the daemon that died may have done it, for whichever session, and others may
// have relied on its bits.
void Arena::announce_leases() {
  for_each_run([&](SlabIndex slab, RunRecord run) {
    if (!run.owner().session) return;
    const std::uint32_t capacity = shape_of(slab).capacity();
    for (std::uint32_t first = 0; first < capacity; first += 64) {
      std::uint64_t bits = 0;
      for (std::uint32_t b = first; b < std::min(first + 64, capacity); ++b)
        if (BlockWord(word(Slot::of(slab, {b})).load(std::memory_order_acquire)).is_returning())
          bits |= std::uint64_t{1} << (b - first);
      if (bits != 0) publish_returned(Slot::of(slab, {first}).value >> 6, bits, true);
    }
    announce(slab, capacity);
  });
  raise_summaries();
}

Footprint Arena::footprint_of(SessionId session) const {
  Footprint set(unit_count());
  const std::atomic<std::uint64_t>* const words = view_.touched(session);
  for (std::size_t i = 0; i < set.words().size(); ++i)
    set.words()[i] = words[i].load(std::memory_order_acquire);
  return set;
}

void Arena::forget_session(SessionId session) {
  for (std::uint32_t i = 0; i < options_.max_heaps; ++i)
    if (ledger_.heap_owner({static_cast<std::uint16_t>(i)}) == session) {
      CRASH_POINT("forget.heap");
      ledger_.release_heap({static_cast<std::uint16_t>(i)});
    }
  for (std::uint32_t i = 0; i < kMaxSharers; ++i)
    if (view_.sharers().sessions[i].load(std::memory_order_relaxed) == session.value) {
      CRASH_POINT("forget.sharer");
      view_.sharers().sessions[i].store(0, std::memory_order_release);
    }
  ledger_.set_attach_mode(session, 0);
  // A session that was never attached here has no page of its own yet.
  if (view_.session(session).state.load(std::memory_order_relaxed) == SessionEntry::kNone) return;
  for (std::uint32_t i = 0; i < view_.footprint_words(); ++i)
    if (view_.touched(session)[i].load(std::memory_order_relaxed) != 0) {
      CRASH_POINT("forget.touched");
      view_.touched(session)[i].store(0, std::memory_order_relaxed);
    }
  mark_session(session, SessionEntry::kNone);
}

}  // namespace arenad
