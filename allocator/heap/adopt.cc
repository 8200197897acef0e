// Adoption: a heap of the arena's own process takes over a run whose owner works no more.
//
// The new owner is written first. A freer that read the old one before has its word at RETURNING
// and its returned bit set before that, so the scan that follows finds the block whatever became of
// the bits; a freer that reads later tells the new owner. Killed anywhere in here: the ledger names
// the run still, and it is adopted again.
#include <algorithm>

#include "allocator/base/crash_point.h"
#include "allocator/heap/heap.h"

namespace arenad {
namespace {

// A word of a run whose owner is gone, as its adopter leaves it: FREE, or still somebody's.
std::uint64_t settled(SessionId dead, std::uint64_t dead_bits, BlockWord word) {
  switch (word.tag()) {
    case BlockTag::kFree: break;
    case BlockTag::kReturning: return BlockWord::free_of(word.bits());
    case BlockTag::kHeld:
      return word.holder().session() == dead ? BlockWord::freed(word.bits()) : word.bits();
    case BlockTag::kShared: {
      const std::uint64_t left = word.sharers() & ~dead_bits;
      return left != 0 ? BlockWord::shared(word.bits(), left) : BlockWord::freed(word.bits());
    }
  }
  return BlockWord::free_of(word.bits());
}

}  // namespace

void Heap::adopt(SlabIndex first, SessionId dead, ReapResult& result) {
  const RunRecord record = arena_.ledger().run(first);
  if (!record || slabs_[first.value] != nullptr) return;
  const SlabShape shape = arena_.shape_of(first);
  const RunRequest run{record.kind(), record.cls(), record.units(), shape.capacity()};
  const std::uint64_t stride = run.kind == SlabKind::kSpan
                                   ? run.units * kSlabUnitBytes
                                   : geometry_.size_class(run.cls).stride_bytes;
  SlabHeader& h = arena_.control().slab(first);
  if (h.shape.load(std::memory_order_acquire) != shape.bits) {
    // Granted and never begun (the granter died), or scribbled over: the ledger knows what the run
    // is.
    if (h.shape.load(std::memory_order_relaxed) != 0)
      arena_.quarantine("header of slab " + std::to_string(first.value) +
                        " is not what was leased");
    CRASH_POINT("adopt.shape");
    h.shape.store(shape.bits, std::memory_order_release);
  }
  CRASH_POINT("adopt.owner");
  h.owner.store(id_.value);  // seq_cst, and before the scan: pairs with the freer's read of owner
                             // after its returned bit
  CRASH_POINT("adopt.ledger");
  arena_.ledger().set_run(first, RunRecord::of(run.kind, run.cls, run.units, RunOwner::heap(id_)));

  SlabState* const slab = enter_run(first, run);
  const std::uint64_t dead_bits = dead == kNoSession ? 0 : arena_.sharer_bits(dead);
  std::uint32_t carved = std::min(h.carved.load(std::memory_order_acquire), run.capacity);
  for (std::uint32_t b = run.capacity; b > carved; --b)
    // Nothing beyond carved can be out unless carved was scribbled over; then it counts for
    // nothing.
    if (!BlockWord(words_[Slot::of(first, {b - 1}).value].load(std::memory_order_acquire))
             .is_free()) {
      arena_.quarantine("uncarved block " + std::to_string(b - 1) + " of slab " +
                        std::to_string(first.value) + " is in use");
      carved = b;
    }
  slab->carved = carved;
  if (carved != h.carved.load(std::memory_order_relaxed)) {
    CRASH_POINT("adopt.carved");
    h.carved.store(carved, std::memory_order_release);
  }
  for (std::uint32_t b = 0; b < carved; ++b) {
    AtomicWord& word = words_[Slot::of(first, {b}).value];
    std::uint64_t seen = word.load(std::memory_order_acquire), next;
    // CAS: whoever has the block's ref may free it, take it over or share it meanwhile.
    for (;;) {
      next = settled(dead, dead_bits, BlockWord(seen));
      if (next == seen) break;
      CRASH_POINT("adopt.word");
      if (word.compare_exchange_weak(seen, next, std::memory_order_acq_rel,
                                     std::memory_order_acquire))
        break;
    }
    if (BlockWord(next).tag() != BlockTag::kFree) continue;
    slab->put_free({b});
    if (BlockWord(seen).is_held() || BlockWord(seen).is_shared()) {
      ++result.blocks;
      result.bytes += stride;
    }
    if (BlockWord(seen).tag() == BlockTag::kFree && seen != next)
      arena_.quarantine("block " + std::to_string(b) + " of slab " + std::to_string(first.value) +
                        " is FREE with a holder");
  }
  // What was announced to the owner before, or relied on it, is announced to this heap; a bit that
  // stands for nothing too.
  arena_.announce(first, run.capacity);

  ++result.adopted_slabs;
  ++counters_.adopted_slabs;
  counters_.adopted_blocks += slab->out();
  if (run.kind == SlabKind::kSlab) active_blocks_ += slab->out();
  if (slab->out() == 0) return release_slab(slab);
  if (run.kind == SlabKind::kSlab && slab->has_any()) partial_[run.cls].push_front(slab);
}

}  // namespace arenad
