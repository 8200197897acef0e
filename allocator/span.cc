// Spans: sizes above the largest class, as runs of 64 KiB units or of whole superslabs.
#include "allocator/heap.h"

namespace arenad {

Result<Block> Heap::allocate_span_slow(std::uint64_t size, std::uint32_t align, Holder holder) {
  const Layout& layout = geometry_.layout();
  if (size == 0 || size > arena_.capacity_bytes() - layout.header_bytes - layout.canary_bytes) return Error::kInvalidSize;
  if (align > kMaxAlignBytes) return Error::kInvalidAlignment;  // a span starts at a unit: every allowed alignment holds
  if (arena_.quarantined()) return Error::kQuarantined;
  const auto units = static_cast<std::uint32_t>(geometry_.span_units(size));
  const auto take = [&] {
    return units < kUnitsPerSuperslab ? arena_.units().take_run(units, hint_)
                                      : arena_.units().take_superslabs(units / kUnitsPerSuperslab);
  };
  auto run = take();
  if (!run && run.error() == Error::kArenaFull) {
    trim();
    run = take();
  }
  if (!run) return run.error();
  auto slab = adopt_run(*run, SlabKind::kSpan, kSpanClass, units, 1);
  if (!slab) {
    if (units < kUnitsPerSuperslab) arena_.units().release_run(*run, units);
    else arena_.units().release_superslabs(*run, units / kUnitsPerSuperslab);
    return slab.error();
  }
  (*slab)->carved = 1;
  arena_.control().slab(*run).carved.store(1, std::memory_order_release);
  const Slot slot = Slot::of(*run, {0});
  AtomicWord& word = words_[slot.value];
  const std::uint64_t free_bits = word.load(std::memory_order_relaxed);
  if (!BlockWord(free_bits).is_free()) {
    release_slab(*slab);
    return damaged_word_slow(arena_bits_ | slot.value);
  }
  word.store(BlockWord::held(free_bits, holder), std::memory_order_release);  // as in allocate_class
  ++counters_.spans;
  const std::uint64_t offset = run->value * kSlabUnitBytes + header_bytes_;
  if (canaries_) write_canary(offset, span_usable(**slab));
  return Block{Ref{free_bits << 2 | arena_bits_ | slot.value}, offset};
}

}  // namespace arenad
