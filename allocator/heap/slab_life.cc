// A slab's life in its heap: taken from the arena, filled from magazines, given back when empty.
#include <algorithm>
#include <string>

#include "allocator/base/tunables.h"
#include "allocator/heap/heap.h"

namespace arenad {
namespace {
constexpr std::uint32_t kKeepEmptySlabs =
    4;  // per class, beyond which an empty slab goes back at once
}

// The private side of a run that is this heap's from now on.
SlabState* Heap::enter_run(SlabIndex first, const RunRequest& run) {
  auto* slab = new SlabState;
  slab->slab = first;
  slab->cls = run.cls;
  slab->units = run.units;
  slab->capacity = run.capacity;
  slab->free_bits = std::make_unique<std::uint64_t[]>(slab->word_count());
  slabs_[first.value] = slab;
  touched_[first.value] = 0;
  const bool simple = run.kind == SlabKind::kSlab && !canaries_;
  if (run.kind == SlabKind::kSlab)
    rows_->set(*slab, first.value * kSlabUnitBytes + header_bytes_,
               geometry_.size_class(run.cls).stride_bytes,
               simple ? (run.cls + 1) * sizeof(Magazine) : 0);
  my_units_[first.value / kUnitsPerSuperslab] |= std::uint32_t{1}
                                                 << (first.value % kUnitsPerSuperslab);
  if (run.kind == SlabKind::kSlab)
    if (Magazine& m = magazines_[run.cls + 1]; m.bottom == nullptr) m.make_storage();
  return slab;
}

Result<SlabState*> Heap::new_slab(std::uint32_t cls) {
  const SizeClass& sc = geometry_.size_class(cls);
  const RunRequest request{SlabKind::kSlab, static_cast<std::uint8_t>(cls), sc.slab_units,
                           sc.capacity};
  const auto run = source_.take(id_, request, hint_);
  if (!run) return run.error();
  SlabState* const slab = enter_run(*run, request);
  hint_ = {run->value / kUnitsPerSuperslab};
  partial_[cls].push_front(slab);
  ++counters_.new_slabs;
  return slab;
}

void Heap::release_slab(SlabState* slab) {
  const SlabIndex first = slab->slab;
  const std::uint32_t units = slab->units;
  if (slab->listed) partial_[slab->cls].remove(slab);
  rows_->clear(*slab);
  slabs_[first.value] = nullptr;
  my_units_[first.value / kUnitsPerSuperslab] &=
      ~(std::uint32_t{1} << (first.value % kUnitsPerSuperslab));
  delete slab;
  ++counters_.released_slabs;
  source_.give_back(id_, first, units);
}

// Blocks came home to `slab`'s free bitmap: it has something to give, and may be empty.
void Heap::gained(SlabState& slab) {
  if (!slab.listed) partial_[slab.cls].push_front(&slab);
  if (slab.out() != 0) return;
  if (empty_slabs_[slab.cls] >= kKeepEmptySlabs) return release_slab(&slab);
  ++empty_slabs_[slab.cls];
}

// The `count` oldest freed entries of a magazine back into their slabs.
void Heap::flush_freed(Magazine& m, std::uint32_t count) {
  if (count == 0) return;  // a class that was never used has no storage to move
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint64_t entry = m.freed_bottom[i];
    const Slot slot{entry & Ref::kSlotMask};
    SlabState* const slab = slabs_[slot.slab().value];
    if (slab == nullptr || slot.block().value >= slab->carved || !slab->put_free(slot.block()))
        [[unlikely]] {
      // Only a forged word lets a block be freed that is not out, so this is shared memory's doing
      // and no reason to abort.
      if (slab != nullptr && tunables().guards_private.load(std::memory_order_relaxed))
        guard_abort(view_of(*slab), guard_mode_line(), offset_of(entry, m.stride),
                    GuardVerdict::kTwiceInBatch);
      ++counters_.guard_trips;
      arena_.quarantine("block word of a free block said HELD, slot " + std::to_string(slot.value));
      continue;
    }
    if (!slab->listed || slab->out() == 0) gained(*slab);
  }
  active_blocks_ -= count;
  flushed_blocks_ += count;
  m.drop_freed(count);
}

// All of a magazine.
void Heap::flush(Magazine& m) {
  flush_freed(m, m.freed_count());
  m.swap_stacks();
  flush_freed(m, m.freed_count());
}

// The freed stack is full: it becomes the allocation stack when that is empty, else its older half
// goes back.
void Heap::make_room(Magazine& m) {
  if (m.top == m.bottom)
    m.swap_stacks();
  else
    flush_freed(m, m.capacity / 2);
}

}  // namespace arenad
