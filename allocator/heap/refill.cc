// The CMake option HAKMEM_TINY_P0_BATCH_REFILL decides here, and only here, whether batches are
// built.
#include "allocator/heap/refill.h"

#include <algorithm>
#include <string>
#include <utility>

#include "allocator/arena/arena_view.h"
#include "allocator/base/log.h"
#include "allocator/base/tunables.h"
#include "allocator/format/ref_layout.h"

namespace arenad {

bool p0_batch_refill_built() { return HAKMEM_TINY_P0_BATCH_REFILL != 0; }

Refiller::Refiller(const ArenaView& arena, HeapId id, SlabTable& slabs, BlockTransfer& transfer,
                   Drainer& drainer, HeapCounters& counters, std::function<void()> trim)
    : arena_(arena),
      id_(id),
      slabs_(slabs),
      transfer_(transfer),
      drainer_(drainer),
      counters_(counters),
      trim_(std::move(trim)) {}

Error Refiller::refill(Magazine& m) {
  if (arena_.quarantined()) return Error::kQuarantined;
  const std::uint32_t count_before = m.count();
  const std::uint64_t active_before = slabs_.active_blocks();
  const std::uint64_t home_before = drainer_.slab_blocks() + counters_.flushed_blocks;
  slabs_.release_surplus(m.cls);
  const bool batch = p0_batch_refill_built() && tunables().p0_active();
  Error e = refill_once(m, batch);
  if (e == Error::kArenaFull && m.count() == 0) {
    // Before a heap fails it looks at all its returned words, pending or not, and gives up what its
    // other classes keep.
    trim_();
    e = refill_once(m, batch);
  }
  ++counters_.refills;
  // Drained and flushed blocks came home meanwhile. The rest of the change of active blocks is what
  // the magazine got.
  const std::uint64_t home = drainer_.slab_blocks() + counters_.flushed_blocks - home_before;
  check(m, m.count() - count_before, slabs_.active_blocks() + home - active_before);
  return m.count() != 0 ? Error::kNone : e;
}

Error Refiller::refill_batch(Magazine& m) {
  if (!tunables().p0_no_drain.load(std::memory_order_relaxed)) drainer_.drain_class(m.cls);
  std::uint32_t got = 0;
  while (got < m.batch) {
    SlabState* slab = slabs_.next_with_blocks(m.cls);
    if (slab == nullptr) {
      if (got != 0) break;
      const auto fresh = slabs_.take_slab(m.cls);
      if (!fresh) return fresh.error();
      slab = *fresh;
    }
    got += transfer_.take(*slab, m, m.batch - got);
  }
  std::reverse(m.top - got, m.top);  // popped in the order of their addresses
  return Error::kNone;
}

Error Refiller::refill_one(Magazine& m) {
  SlabState* slab = slabs_.next_with_blocks(m.cls);
  if (slab == nullptr && drainer_.drain_class(m.cls) != 0) slab = slabs_.next_with_blocks(m.cls);
  if (slab == nullptr) {
    const auto fresh = slabs_.take_slab(m.cls);
    if (!fresh) return fresh.error();
    slab = *fresh;
  }
  transfer_.take(*slab, m, 1);
  return Error::kNone;
}

void Refiller::check(const Magazine& m, std::uint64_t taken, std::uint64_t delta) {
  const bool ok = taken == delta;
  ++(ok ? counters_.p0_counter_ok : counters_.p0_counter_mismatch);
  if (ok && !tunables().p0_log.load(std::memory_order_relaxed)) [[likely]]
    return;
  static RateLimit limit(20);
  if (!limit.allow()) return;
  const std::uint32_t slab = m.count() != 0 ? RefLayout::slot_of_entry(m.top[-1]).slab().value : 0;
  std::string line = ok ? "[P0_COUNTER_OK]" : "[P0_COUNTER_MISMATCH]";
  line += " heap=" + std::to_string(id_.value) + " cls=" + std::to_string(m.cls.value) +
          " slab=" + std::to_string(slab) + " taken=" + std::to_string(taken) +
          " delta=" + std::to_string(static_cast<std::int64_t>(delta));
  if (const auto n = limit.suppressed(); n != 0) line += " suppressed=" + std::to_string(n);
  log_line(line);
}

}  // namespace arenad
