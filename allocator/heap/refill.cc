// The batch refill ("P0"): the whole slow path of an allocation. drain, splice, carve, new slab.
//
// CMake option HAKMEM_TINY_P0_BATCH_REFILL decides here, and only here, whether batches are built.
#include <algorithm>
#include <array>
#include <string>

#include "allocator/base/crash_point.h"
#include "allocator/base/log.h"
#include "allocator/base/tunables.h"
#include "allocator/heap/heap.h"

namespace arenad {

bool p0_batch_refill_built() { return HAKMEM_TINY_P0_BATCH_REFILL != 0; }

Result<Allocation> Heap::pop_slow(Magazine& m, Holder holder) {
  if (m.freed_top != m.freed_bottom)
    m.swap_stacks();
  else if (const Error e = refill(m.cls); e != Error::kNone)
    return e;
  return pop_or_refill(m, holder);
}

Error Heap::refill(std::uint32_t cls) {
  if (arena_.quarantined()) return Error::kQuarantined;
  Magazine& m = magazines_[cls + 1];
  const std::uint32_t count_before = m.count();
  const std::uint64_t active_before = active_blocks_;
  const std::uint64_t drained_before = counters_.drained_blocks - drained_spans_;
  const std::uint64_t flushed_before = flushed_blocks_;
  const bool batch = p0_batch_refill_built() && tunables().p0_active();
  Error e = batch ? refill_batch(cls, m) : refill_one(cls, m);
  if (e == Error::kArenaFull && m.count() == 0) {
    // Before a heap fails it looks at all its returned words, pending or not, and gives up what
    // other classes keep.
    trim();
    e = batch ? refill_batch(cls, m) : refill_one(cls, m);
  }
  ++counters_.refills;
  // Drained and flushed blocks came home in between: what is left of the change is what the
  // magazine got.
  const std::uint64_t home = (counters_.drained_blocks - drained_spans_ - drained_before) +
                             (flushed_blocks_ - flushed_before);
  check_refill(cls, m.count() - count_before, active_blocks_ + home - active_before);
  return m.count() != 0 ? Error::kNone : e;
}

Error Heap::refill_batch(std::uint32_t cls, Magazine& m) {
  if (!tunables().p0_no_drain.load(std::memory_order_relaxed) && has_pending()) drain();
  std::uint32_t got = 0;
  while (got < m.batch) {
    SlabState* slab = partial_[cls].front();
    if (slab == nullptr) {
      if (got != 0) break;
      auto fresh = new_slab(cls);
      if (!fresh) return fresh.error();
      slab = *fresh;
    }
    got += take_from(*slab, m, m.batch - got);
  }
  std::reverse(m.top - got, m.top);  // popped in address order
  return Error::kNone;
}

Error Heap::refill_one(std::uint32_t cls, Magazine& m) {
  SlabState* slab = partial_[cls].front();
  if (slab == nullptr && has_pending()) {
    drain();
    slab = partial_[cls].front();
  }
  if (slab == nullptr) {
    auto fresh = new_slab(cls);
    if (!fresh) return fresh.error();
    slab = *fresh;
  }
  take_from(*slab, m, 1);
  return Error::kNone;
}

std::uint32_t Heap::take_from(SlabState& slab, Magazine& m, std::uint32_t most) {
  if (slab.carved != 0 && slab.out() == 0) --empty_slabs_[slab.cls];
  const std::uint32_t got = slab.free_count != 0 ? splice(slab, m, most) : carve(slab, m, most);
  if (!slab.has_any()) partial_[slab.cls].remove(&slab);
  return got;
}

// A batch of free blocks of one slab into the magazine.
std::uint32_t Heap::splice(SlabState& slab, Magazine& m, std::uint32_t most) {
  std::uint32_t got = 0;
  while (got < most && slab.free_count != 0) {
    std::uint32_t first = 0;
    std::uint64_t bits = slab.take_free(most - got, &first);
    const std::uint64_t base = arena_bits_ | Slot::of(slab.slab, {first}).value;
    for (; bits != 0; bits &= bits - 1)
      m.top[got++] = base | static_cast<std::uint64_t>(std::countr_zero(bits));
  }
  if (tunables().guards_private.load(std::memory_order_relaxed)) [[unlikely]]
    guard_batch(slab, m, got, false);
  m.top += got;
  m.filled += got;
  active_blocks_ += got;
  ++counters_.splices;
  counters_.spliced_blocks += got;
  return got;
}

// Never-used blocks from the slab's end, in order (linear carve).
std::uint32_t Heap::carve(SlabState& slab, Magazine& m, std::uint32_t most) {
  const std::uint32_t got = std::min(most, slab.capacity - slab.carved);
  const bool guarded = tunables().guards_private.load(std::memory_order_relaxed);
  if (guarded) [[unlikely]]
    guard_carve(slab, got);
  for (std::uint32_t i = 0; i < got; ++i)
    m.top[i] = arena_bits_ | Slot::of(slab.slab, {slab.carved + i}).value;
  slab.carved += got;
  CRASH_POINT("carve.carved");
  // release: pairs with validate's acquire; published before any of them is out.
  arena_.control().slab(slab.slab).carved.store(slab.carved, std::memory_order_release);
  if (guarded) [[unlikely]]
    guard_batch(slab, m, got, true);
  m.top += got;
  m.filled += got;
  active_blocks_ += got;
  ++counters_.carves;
  counters_.carved_blocks += got;
  return got;
}

void Heap::check_refill(std::uint32_t cls, std::uint64_t taken, std::uint64_t delta) {
  const bool ok = taken == delta;
  ++(ok ? counters_.p0_counter_ok : counters_.p0_counter_mismatch);
  if (ok && !tunables().p0_log.load(std::memory_order_relaxed)) [[likely]]
    return;
  static RateLimit limit(20);
  if (!limit.allow()) return;
  const Magazine& m = magazines_[cls + 1];
  const std::uint32_t slab = m.count() != 0 ? Slot{m.top[-1] & Ref::kSlotMask}.slab().value : 0;
  std::string line = ok ? "[P0_COUNTER_OK]" : "[P0_COUNTER_MISMATCH]";
  line += " heap=" + std::to_string(id_.value) + " cls=" + std::to_string(cls) +
          " slab=" + std::to_string(slab) + " taken=" + std::to_string(taken) +
          " delta=" + std::to_string(static_cast<std::int64_t>(delta));
  if (const auto n = limit.suppressed(); n != 0) line += " suppressed=" + std::to_string(n);
  log_line(line);
}

}  // namespace arenad
