#include "allocator/heap/heap.h"

#include <algorithm>
#include <string>
#include <utility>

#include "allocator/arena/arena.h"
#include "allocator/format/ref_layout.h"
#include "allocator/heap/adopter.h"
#include "allocator/heap/slab_checks.h"

namespace arenad {
namespace {

// A magazine caches at most this much in each of its two stacks.
constexpr std::uint64_t kMagazineBytes = 256 * 1024;
// A refill brings about this much.
constexpr std::uint64_t kBatchBytes = 32 * 1024;

// With debug flag F every heap knows of each block whether it is away.
HeapUse use_in(const ArenaView& arena, HeapUse use) {
  return arena.options().debug.checks ? HeapUse::kServesOthers : use;
}

}  // namespace

Heap::Heap(Arena& arena, HeapId id, SessionId owner, HeapUse use)
    : Heap(arena, id, owner, arena.source(), use,
           std::make_unique<RowTables>(arena.id(), arena.slot_limit())) {}

Heap::Heap(ArenaView& arena, HeapId id, SessionId owner, SlabSource& source)
    : Heap(arena, id, owner, source, HeapUse::kOwnProcess,
           std::make_unique<RowTables>(arena.id(), arena.slot_limit())) {}

Heap::Heap(ArenaView& arena, HeapId id, SessionId owner, SlabSource& source, HeapUse use,
           std::unique_ptr<RowTables> rows)
    : FastHeap(arena.refs(), arena.slot_limit(), arena.control().words(),
               {rows->offsets(), rows->magazines()}),
      arena_(arena),
      geometry_(arena.geometry()),
      rows_(std::move(rows)),
      id_(id),
      use_(use_in(arena, use)),
      debug_(arena),
      wipe_(arena),
      only_pops_(!debug_.on() && !wipe_.at_allocate() && use == HeapUse::kOwnProcess),
      slabs_(arena.geometry(), arena.unit_count(), id, source, *rows_,
             std::span(magazines_).subspan(1), counters_, use_,
             {debug_.on() || wipe_.at_home(), debug_.flags().poison}),
      transfer_(arena, *rows_, slabs_, counters_),
      remote_frees_(arena),
      freer_(arena, id, owner, slabs_, std::span(magazines_).subspan(1), transfer_, remote_frees_,
             counters_),
      drainer_(arena, id, slabs_, std::span(magazines_).subspan(1), transfer_, counters_),
      refiller_(arena, id, slabs_, transfer_, drainer_, counters_, [this] { trim(); }) {
  set_up_magazines();
  if (debug_.flags().poison)
    slabs_.before_release([this](const SlabState& slab) { look_at_leaving(slab); });
  (void)arena.enlist_heap(id, owner);  // whoever makes a heap has committed its pages
}

void Heap::set_up_magazines() {
  for (const ClassId cls : geometry_.classes()) {
    const std::uint32_t stride = geometry_.size_class(cls).stride_bytes;
    Magazine& m = magazine_of(cls);
    m.cls = cls;
    m.stride = stride;
    m.capacity =
        static_cast<std::uint32_t>(std::clamp<std::uint64_t>(kMagazineBytes / stride, 8, 2048));
    m.batch = static_cast<std::uint32_t>(std::clamp<std::uint64_t>(kBatchBytes / stride, 2, 512));
  }
  // Zeros are written by the slow path, and debug flags look there. For others it is the slow path
  // that notes that the block is away.
  if (!only_pops_) return;
  const std::uint64_t largest = std::min(kSmallSteps * 8, geometry_.largest_class_bytes());
  for (std::uint64_t step = 1; step * 8 <= largest; ++step)
    magazine_of_small_[step] = magazine_position(geometry_.class_of(step * 8));
}

// --- the slow exits of the fast paths. A FastHeap is always the base of a Heap

Result<Allocation> FastHeap::allocate_large_slow(std::uint64_t size, Holder holder) {
  return static_cast<Heap&>(*this).allocate_aligned(size, 0, holder);
}

Result<Allocation> FastHeap::allocate_small_slow(Magazine& m, std::uint64_t size, Holder holder) {
  return &m == &magazines_.front() ? allocate_large_slow(size, holder)
                                   : static_cast<Heap&>(*this).refill_and_pop(m, holder);
}

Result<Allocation> FastHeap::damaged_word_slow(std::uint64_t entry) {
  return static_cast<Heap&>(*this).damaged_word(entry);
}

Error FastHeap::free_slow(Ref ref) { return static_cast<Heap&>(*this).freer_.free(ref); }

// A ref of another arena, or one of an arena whose refs are not kSmallRefs'.
Error FastHeap::free_outside_slow(Ref ref) {
  const Slot slot{refs_.entry_of(ref) - refs_.arena_bits()};
  return slot.value >= slot_limit_ ? Error::kForeignRef : free_slot(refs_, slot, ref);
}

void FastHeap::make_room_slow(Magazine& m) { static_cast<Heap&>(*this).transfer_.make_room(m); }

// --- allocate

Result<Allocation> Heap::damaged_word(std::uint64_t entry) {
  ++counters_.guard_trips;
  arena_.quarantine([entry] {
    return "block word of a free block is not FREE, slot " +
           std::to_string(RefLayout::slot_of_entry(entry).value);
  });
  return Error::kQuarantined;
}

Result<Allocation> Heap::refill_and_pop(Magazine& m, Holder holder) {
  if (m.freed_top != m.freed_bottom)
    m.swap_stacks();
  else if (const Error e = refiller_.refill(m); e != Error::kNone)
    return e;
  return pop_or_refill(m, holder);
}

Result<Allocation> Heap::allocate_aligned(std::uint64_t size, std::uint32_t align, Holder holder) {
  const auto cls = geometry_.class_of(size, align);
  if (!cls) return cls.error();
  return allocate_any(*cls, size, align, holder);
}

Result<Allocation> Heap::allocate_any(ClassId cls, std::uint64_t size, std::uint32_t align,
                                      Holder holder) {
  if (cls == kSpanClass) return allocate_span(size, align, holder);
  Magazine& m = magazine_of(cls);
  const auto got = pop_or_refill(m, holder);
  // A peer has written a generation that no free makes: its low bits lie in the ref's slot.
  if (got && refs_.entry_of(got->ref) != *m.top) [[unlikely]]
    return damaged_word(*m.top);
  if (!got || only_pops_) return got;
  SlabState* const slab = slabs_.find(RefLayout::slot_of_entry(*m.top).slab());
  if (!is_in_its_slab(slab, *m.top, *got)) [[unlikely]]
    return damaged_word(*m.top);
  slabs_.note_away(*slab, RefLayout::slot_of_entry(*m.top).block(), holder.session());
  if (debug_.on() && !look_at_outgoing(*slab, *got, holder)) return Error::kQuarantined;
  if (wipe_.at_allocate()) wipe_.wipe_for_holder(got->offset, slab->usable_bytes);
  return got;
}

bool Heap::look_at_outgoing(SlabState& slab, const Allocation& block, Holder holder) const {
  const BlockIndex index = refs_.slot_of(block.ref).block();
  const BlockPlace place = slab.place_of(index);
  if (!slab.is_span) {
    const bool knows = slab.last_holders != nullptr;
    debug_.check_home(place, block.ref, knows ? slab.last_holders[index.value] : Holder());
    if (knows) slab.last_holders[index.value] = holder;
  }
  debug_.handed_out(place, holder);
  return slab_passes(arena_, debug_, id_, slab, block.ref, "allocated");
}

// The slab's memory becomes somebody else's, and what was written there after a free is lost.
void Heap::look_at_leaving(const SlabState& slab) const {
  if (slab.is_span) return;
  for (BlockIndex block{0}; block.value < slab.carved; ++block.value) {
    const BlockPlace place = slab.place_of(block);
    const BlockWord word{arena_.word(place.slot).load(std::memory_order_relaxed)};
    debug_.check_home(place, refs_.ref_of(place.slot, word), slab.last_holders[block.value]);
  }
}

// Private memory is asked here, once more, before a block leaves for another process or something
// is written around it.
bool Heap::is_in_its_slab(const SlabState* slab, std::uint64_t entry,
                          const Allocation& block) const {
  if (slab == nullptr) return false;
  const std::uint64_t at = RefLayout::slot_of_entry(entry).block().value;
  return at < slab->carved && block.offset == slab->payload_offset + at * slab->stride_bytes;
}

Result<Allocation> Heap::allocate_span(std::uint64_t size, std::uint32_t align, Holder holder) {
  const Layout& layout = geometry_.layout();
  if (size == 0 || size > arena_.capacity_bytes() - layout.header_bytes - layout.trailer_bytes)
    return Error::kInvalidSize;
  // A span starts at a unit, so every allowed alignment holds.
  if (align > kMaxAlignBytes) return Error::kInvalidAlignment;
  if (arena_.quarantined()) return Error::kQuarantined;
  const auto units = static_cast<std::uint32_t>(geometry_.span_units(size));
  auto taken = slabs_.take_span(units);
  if (!taken && taken.error() == Error::kArenaFull) {
    trim();
    taken = slabs_.take_span(units);
  }
  if (!taken) return taken.error();
  SlabState& slab = **taken;
  if (debug_.on()) debug_.prepare_span(slab.place_of({0}));
  slab.carved = 1;
  CRASH_POINT("span.carved");
  // release: pairs with the acquire of carved in ArenaView::validate, as in BlockTransfer::carve.
  arena_.control().slab(slab.slab).carved.store(1, std::memory_order_release);
  const Slot slot = Slot::of(slab.slab, {0});
  AtomicWord& word = words_[slot.value];
  const std::uint64_t free_bits = word.load(std::memory_order_relaxed);
  if (!refs_.is_free(BlockWord(free_bits))) {
    slabs_.release(slab);
    return damaged_word(refs_.entry_of(slot));
  }
  CRASH_POINT("span.word");
  word.store(BlockWord::held(free_bits, holder), std::memory_order_release);  // as in FastHeap::pop
  slabs_.note_away(slab, {0}, holder.session());
  ++counters_.spans;
  const Allocation span{RefLayout::ref_of(refs_.entry_of(slot), free_bits), slab.payload_offset};
  if (debug_.on() && !look_at_outgoing(slab, span, holder)) return Error::kQuarantined;
  if (wipe_.at_allocate()) wipe_.wipe_for_holder(slab.payload_offset, slab.usable_bytes);
  return span;
}

Error Heap::allocate_batch(std::uint64_t size, std::uint32_t align, Holder holder,
                           std::span<Allocation> out) {
  const auto cls = geometry_.class_of(size, align);
  if (!cls) return cls.error();
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto got = allocate_any(*cls, size, align, holder);
    if (got) {
      out[i] = *got;
      continue;
    }
    while (i-- > 0) [[maybe_unused]] const Error undone = free(out[i].ref);
    return got.error();
  }
  return Error::kNone;
}

// --- recovery and housekeeping

void Heap::adopt(Arena& arena, SlabIndex first, SessionId dead, ReapResult& result,
                 PaidBy paid_by) {
  Adopter(arena, id_, slabs_, counters_).adopt(first, dead, result, paid_by);
}

bool Heap::change_payer(Ref ref, SessionId session) {
  const Slot slot = refs_.slot_of(ref);
  SlabState* const slab = slabs_.find(slot.slab());
  if (slab == nullptr || slot.block().value >= slab->carved || !slab->away ||
      !slab->away->has(slot.block()))
    return false;
  // acquire: pairs with the release of the word by whoever took the block over.
  const BlockWord word{words_[slot.value].load(std::memory_order_acquire)};
  if (!refs_.is_of(ref, word) || !word.is_held() || word.holder().session() != session)
    return false;
  slabs_.change_payer(*slab, slot.block(), session);
  return true;
}

void Heap::move_payments(SlabIndex first, SessionId from, SessionId to) {
  if (SlabState* const slab = slabs_.find(first); slab != nullptr && slab->away)
    slabs_.move_payments(*slab, from, to);
}

std::uint64_t Heap::trim() {
  publish();
  drainer_.drain_all();
  std::uint64_t bytes = 0;
  for (const ClassId cls : geometry_.classes()) {
    transfer_.flush(magazine_of(cls));
    bytes += slabs_.release_empty(cls);
  }
  return bytes;
}

std::uint64_t Heap::idle_tick() {
  publish();
  if (slabs_.all().empty()) return 0;  // so no magazine has a block
  drainer_.drain_all();
  std::uint64_t bytes = 0;
  for (const ClassId cls : geometry_.classes()) {
    Magazine& m = magazine_of(cls);
    if (m.allocs() == m.allocs_at_tick) {
      transfer_.flush(m);
      bytes += slabs_.release_empty(cls);
    }
    m.allocs_at_tick = m.allocs();
  }
  return bytes;
}

// --- facts

HeapCounters Heap::counters() const {
  HeapCounters c = counters_;
  c.allocs = counters_.spans;
  c.local_frees = freer_.span_frees();
  for (const Magazine& m : magazines_) {
    c.allocs += m.allocs();
    c.local_frees += m.local_frees();
  }
  return c;
}

std::vector<ClassUsage> Heap::usage() const {
  std::vector<ClassUsage> rows(geometry_.class_count() + 1);
  for (const ClassId cls : geometry_.classes()) {
    rows[cls.value].cls = cls;
    rows[cls.value].cached_blocks = magazine_of(cls).count();
  }
  rows.back().cls = kSpanClass;
  for (const SlabState* s : slabs_.all()) {
    ClassUsage& r = s->is_span ? rows.back() : rows[s->cls.value];
    ++r.slabs;
    r.active_slabs += s->out() != 0;
    r.capacity_blocks += s->capacity;
    r.active_blocks += s->out();
    r.free_blocks += s->free_count;
    r.uncarved_blocks += s->capacity - s->carved;
    r.slab_bytes += s->bytes();
  }
  std::erase_if(rows, [](const ClassUsage& r) { return r.slabs == 0; });
  return rows;
}

}  // namespace arenad
