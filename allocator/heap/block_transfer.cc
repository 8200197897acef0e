#include "allocator/heap/block_transfer.h"

#include <algorithm>
#include <bit>
#include <string>

#include "allocator/arena/arena_view.h"
#include "allocator/base/crash_point.h"
#include "allocator/format/ref_layout.h"

namespace arenad {

BlockTransfer::BlockTransfer(ArenaView& arena, const RowTables& rows, SlabTable& slabs,
                             HeapCounters& counters)
    : arena_(arena),
      slabs_(slabs),
      counters_(counters),
      guards_(rows, arena.control().words(), arena.geometry().layout().header_bytes),
      debug_(arena),
      arena_bits_(arena.refs().arena_bits()) {}

std::uint32_t BlockTransfer::take(SlabState& slab, Magazine& m, std::uint32_t most) {
  slabs_.begin_take(slab);
  const std::uint32_t got = slab.free_count != 0 ? splice(slab, m, most) : carve(slab, m, most);
  m.top += got;
  m.filled += got;
  slabs_.end_take(slab, got);
  return got;
}

// Free blocks of the slab's bitmap go on top of the magazine.
std::uint32_t BlockTransfer::splice(SlabState& slab, Magazine& m, std::uint32_t most) {
  std::uint32_t got = 0;
  while (got < most && slab.free_count != 0) {
    std::uint32_t first = 0;
    std::uint64_t bits = slab.take_free(most - got, &first);
    const std::uint64_t base = arena_bits_ | Slot::of(slab.slab, {first}).value;
    for (; bits != 0; bits &= bits - 1)
      m.top[got++] = base | static_cast<std::uint64_t>(std::countr_zero(bits));
  }
  if (PrivateGuards::on()) [[unlikely]]
    guards_.check_batch(slab, {m.top, got}, false);
  ++counters_.splices;
  counters_.spliced_blocks += got;
  return got;
}

// Never-used blocks go on top of the magazine, in the order of their addresses (linear carve).
std::uint32_t BlockTransfer::carve(SlabState& slab, Magazine& m, std::uint32_t most) {
  const std::uint32_t got = std::min(most, slab.capacity - slab.carved);
  const bool guarded = PrivateGuards::on();
  if (guarded) [[unlikely]]
    guards_.check_carve(slab, got);
  for (std::uint32_t i = 0; i < got; ++i)
    m.top[i] = arena_bits_ | Slot::of(slab.slab, {slab.carved + i}).value;
  if (debug_.on()) [[unlikely]]
    for (std::uint32_t i = 0; i < got; ++i) debug_.prepare(slab.place_of({slab.carved + i}));
  slab.carved += got;
  CRASH_POINT("carve.carved");
  // release: pairs with the acquire of carved in ArenaView::validate. The count is published before
  // any of the blocks is out.
  arena_.control().slab(slab.slab).carved.store(slab.carved, std::memory_order_release);
  if (guarded) [[unlikely]]
    guards_.check_batch(slab, {m.top, got}, true);
  ++counters_.carves;
  counters_.carved_blocks += got;
  return got;
}

// The `count` oldest entries of the freed stack go back into their slabs.
void BlockTransfer::flush_freed(Magazine& m, std::uint32_t count) {
  if (count == 0) return;
  std::uint32_t home = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint64_t entry = m.freed_bottom[i];
    const Slot slot = RefLayout::slot_of_entry(entry);
    SlabState* const slab = slabs_.find(slot.slab());
    if (slab == nullptr || slot.block().value >= slab->carved || !slab->put_free(slot.block()))
        [[unlikely]] {
      // A block that is not out can only be freed when its word was forged. So shared memory is
      // damaged, which is no reason to abort.
      if (slab != nullptr) guard_forged_free(*slab, entry);
      ++counters_.guard_trips;
      arena_.quarantine([slot] {
        return "block word of a free block said HELD, slot " + std::to_string(slot.value);
      });
      continue;
    }
    ++home;
    if (!slab->listed || slab->out() == 0) slabs_.gained(*slab);
  }
  slabs_.came_home(home);
  counters_.flushed_blocks += home;
  m.drop_freed(count);
}

void BlockTransfer::flush(Magazine& m) {
  if (m.bottom == nullptr) return;  // a class that was never used has no storage
  flush_freed(m, m.freed_count());
  m.swap_stacks();
  flush_freed(m, m.freed_count());
  slabs_.release_surplus(m.cls);
}

// The freed stack becomes the allocation stack when that one is empty. Otherwise its older half
// goes back into the slabs. If slabs could leave then but for the rest of the magazine, all of it
// goes back.
void BlockTransfer::make_room(Magazine& m) {
  if (m.top == m.bottom) return m.swap_stacks();
  flush_freed(m, m.capacity / 2);
  if (slabs_.has_surplus(m.cls)) flush(m);
}

}  // namespace arenad
