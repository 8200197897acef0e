// Runs of units: granted, readied, retired, reclaimed. The owner's part of an arena.
#include "allocator/arena/arena.h"
#include "allocator/base/crash_point.h"

namespace arenad {

Result<SlabIndex> Arena::take(HeapId heap, const RunRequest& request, SuperslabIndex hint) {
  return grant(heap, RunOwner::heap(heap), request, hint);
}

void Arena::give_back(HeapId, SlabIndex first, std::uint32_t) { reclaim(first); }

Result<SlabIndex> Arena::grant(HeapId heap, RunOwner owner, const RunRequest& request,
                               SuperslabIndex hint) {
  const bool whole = request.units > kUnitsPerSuperslab ||
                     (request.kind == SlabKind::kSpan && request.units == kUnitsPerSuperslab);
  const auto run = whole ? units_.take_superslabs(request.units / kUnitsPerSuperslab)
                         : units_.take_run(request.units, hint);
  if (!run) return run.error();
  if (const Error e = commit_control(*run, request.capacity); e != Error::kNone) {
    whole ? units_.release_superslabs(*run, request.units / kUnitsPerSuperslab)
          : units_.release_run(*run, request.units);
    return e;
  }
  CRASH_POINT("grant.ledger");
  ledger_.set_run(*run, RunRecord::of(request.kind, request.cls, request.units, owner));
  prepare_run(*run, heap, request);
  return run;
}

void Arena::prepare_run(SlabIndex first, HeapId heap, const RunRequest& request) {
  const SuperslabIndex superslab{first.value / kUnitsPerSuperslab};
  SlabHeader& h = view_.slab(first);
  CRASH_POINT("prepare.carved");
  h.carved.store(0, std::memory_order_relaxed);
  CRASH_POINT("prepare.owner");
  h.owner.store(heap.value);  // seq_cst, before anything of the slab is out: see publish_returned
  CRASH_POINT("prepare.shape");
  h.shape.store(SlabShape::of(request.kind, request.cls, request.units, request.capacity).bits,
                std::memory_order_release);
  // What late or repeated returned bits of the slab's life before have left: first the pending bit,
  // then the words. A freer of this life comes later than both, so it finds them 0 and announces
  // itself to this heap.
  const std::uint32_t unit_bit = std::uint32_t{1} << (first.value % kUnitsPerSuperslab);
  if ((view_.superslab(superslab).pending.load() & unit_bit) != 0) {
    CRASH_POINT("prepare.pending");
    view_.superslab(superslab).pending.fetch_and(~unit_bit);
  }
  for (std::uint32_t w = 0; w < (request.capacity + 63) / 64; ++w) {
    if (view_.returned(first, w).load(std::memory_order_relaxed) == 0) continue;
    CRASH_POINT("prepare.returned");
    view_.returned(first, w).exchange(0, std::memory_order_acq_rel);
  }
}

void Arena::retire_run(SlabIndex first) {
  SlabHeader& h = view_.slab(first);
  CRASH_POINT("retire.shape");
  h.shape.store(0, std::memory_order_release);
  CRASH_POINT("retire.carved");
  h.carved.store(0, std::memory_order_relaxed);
  CRASH_POINT("retire.owner");
  h.owner.store(kNoHeap.value);
}

void Arena::reclaim(SlabIndex first) {
  const RunRecord run = ledger_.run(first);
  retire_run(first);
  CRASH_POINT("reclaim.ledger");
  ledger_.set_run(first, {});
  const bool whole = run.units() > kUnitsPerSuperslab ||
                     (run.kind() == SlabKind::kSpan && run.units() == kUnitsPerSuperslab);
  whole ? units_.release_superslabs(first, run.units() / kUnitsPerSuperslab)
        : units_.release_run(first, run.units());
}

void Arena::for_each_run(const std::function<void(SlabIndex, RunRecord)>& f) const {
  for (std::uint32_t s = 0; s < units_.superslab_count(); ++s) {
    if (!units_.committed({s})) continue;
    for (std::uint32_t u = s * kUnitsPerSuperslab; u < (s + 1) * kUnitsPerSuperslab; ++u)
      if (const RunRecord run = ledger_.run({u})) f({u}, run);
  }
}

bool Arena::run_is_free(SlabIndex first) const {
  const std::uint32_t capacity = shape_of(first).capacity();
  for (std::uint32_t b = 0; b < capacity; ++b)
    if (!BlockWord(word(Slot::of(first, {b})).load(std::memory_order_acquire)).is_free())
      return false;
  return true;
}

}  // namespace arenad
