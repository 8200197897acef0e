// Spans: sizes above the largest class, as runs of 64 KiB units or of whole superslabs.
#include "allocator/base/crash_point.h"
#include "allocator/heap/heap.h"

namespace arenad {

Result<Allocation> Heap::allocate_span_slow(std::uint64_t size, std::uint32_t align,
                                            Holder holder) {
  const Layout& layout = geometry_.layout();
  if (size == 0 || size > arena_.capacity_bytes() - layout.header_bytes - layout.canary_bytes)
    return Error::kInvalidSize;
  if (align > kMaxAlignBytes)
    return Error::kInvalidAlignment;  // a span starts at a unit: every allowed alignment holds
  if (arena_.quarantined()) return Error::kQuarantined;
  const auto units = static_cast<std::uint32_t>(geometry_.span_units(size));
  const RunRequest request{SlabKind::kSpan, kSpanClass, units, 1};
  auto run = source_.take(id_, request, hint_);
  if (!run && run.error() == Error::kArenaFull) {
    trim();
    run = source_.take(id_, request, hint_);
  }
  if (!run) return run.error();
  SlabState* const slab = enter_run(*run, request);
  slab->carved = 1;
  CRASH_POINT("span.carved");
  arena_.control().slab(*run).carved.store(1, std::memory_order_release);
  const Slot slot = Slot::of(*run, {0});
  AtomicWord& word = words_[slot.value];
  const std::uint64_t free_bits = word.load(std::memory_order_relaxed);
  if (!BlockWord(free_bits).is_free()) {
    release_slab(slab);
    return damaged_word(arena_bits_ | slot.value);
  }
  CRASH_POINT("span.word");
  word.store(BlockWord::held(free_bits, holder), std::memory_order_release);  // as in pop
  ++counters_.spans;
  const std::uint64_t offset = run->value * kSlabUnitBytes + header_bytes_;
  if (canaries_) write_canary(offset, span_usable(*slab));
  return Allocation{Ref{free_bits << 2 | arena_bits_ | slot.value}, offset};
}

}  // namespace arenad
