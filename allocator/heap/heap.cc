#include "allocator/heap/heap.h"

#include <algorithm>

namespace arenad {
namespace {

constexpr std::uint64_t kMagazineBytes =
    256 * 1024;  // cached per class in each of its two stacks at most
constexpr std::uint64_t kBatchBytes = 32 * 1024;  // brought per refill

std::uint64_t slots_of(const Arena& arena) {
  return std::uint64_t{arena.unit_count()} / kUnitsPerGroup * kWordsPerGroup;
}

}  // namespace

Heap::Heap(Arena& arena, HeapId id, SessionId owner, SlabSource& source)
    : Heap(arena, id, owner, source, std::make_unique<RowTables>(arena.id(), slots_of(arena))) {}

Heap::Heap(Arena& arena, HeapId id, SessionId owner, SlabSource& source,
           std::unique_ptr<RowTables> rows)
    : FastHeap(arena.id(), arena.control().words(), slots_of(arena),
               {rows->offsets(), rows->magazines()}),
      arena_(arena),
      source_(source),
      geometry_(arena.geometry()),
      rows_(std::move(rows)),
      header_bytes_(arena.geometry().layout().header_bytes),
      canaries_(arena.geometry().layout().canary_bytes != 0),
      id_(id),
      owner_(owner),
      touched_(arena.unit_count()),
      slabs_(arena.unit_count()),
      my_units_(arena.superslab_count()),
      remote_frees_to_(arena.options().max_heaps) {
  for (std::uint32_t c = 0; c < geometry_.class_count(); ++c) {
    const std::uint32_t stride = geometry_.size_class(c).stride_bytes;
    Magazine& m = magazines_[c + 1];
    m.cls = c;
    m.stride = stride;
    m.capacity =
        static_cast<std::uint32_t>(std::clamp<std::uint64_t>(kMagazineBytes / stride, 8, 2048));
    m.batch = static_cast<std::uint32_t>(std::clamp<std::uint64_t>(kBatchBytes / stride, 2, 512));
  }
  static_assert(sizeof(magazines_) <= UINT16_MAX);
  for (std::uint64_t step = 1;
       step <= kSmallSteps && step * 8 <= geometry_.largest_class_bytes() && !canaries_; ++step)
    magazine_of_small_[step] =
        static_cast<std::uint16_t>((geometry_.class_of(step * 8) + 1) * sizeof(Magazine));
  arena.enlist_heap(id, owner);
  hint_ = {static_cast<std::uint32_t>(std::uint64_t{id.value} * 64 % arena.superslab_count())};
}

Heap::~Heap() {
  for (const SlabState* s : all_slabs()) delete s;
}

std::vector<SlabState*> Heap::all_slabs() {
  std::vector<SlabState*> all;
  for_each_slab([&](const SlabState& s) { all.push_back(slabs_[s.slab.value]); });
  return all;
}

// The slow exits of the fast paths. A FastHeap is always the base of a Heap.
Result<Allocation> FastHeap::allocate_large_slow(std::uint64_t size, Holder holder) {
  return static_cast<Heap&>(*this).allocate_aligned(size, 0, holder);
}

Result<Allocation> FastHeap::allocate_small_slow(Magazine& m, std::uint64_t size, Holder holder) {
  return &m == &magazines_.front() ? allocate_large_slow(size, holder)
                                   : static_cast<Heap&>(*this).pop_slow(m, holder);
}

Result<Allocation> FastHeap::damaged_word_slow(std::uint64_t entry) {
  return static_cast<Heap&>(*this).damaged_word(entry);
}

Error FastHeap::free_slow(Ref ref) { return static_cast<Heap&>(*this).free_any(ref); }

void FastHeap::make_room_slow(Magazine& m) { static_cast<Heap&>(*this).make_room(m); }

Result<Allocation> Heap::damaged_word(std::uint64_t entry) {
  ++counters_.guard_trips;
  arena_.quarantine("block word of a free block is not FREE, slot " +
                    std::to_string(entry & Ref::kSlotMask));
  return Error::kQuarantined;
}

Result<Allocation> Heap::allocate_aligned(std::uint64_t size, std::uint32_t align, Holder holder) {
  const auto cls = geometry_.class_of(size, align);
  return cls ? allocate_any(*cls, size, align, holder) : cls.error();
}

Result<Allocation> Heap::allocate_any(std::uint32_t cls, std::uint64_t size, std::uint32_t align,
                                      Holder holder) {
  if (cls == kSpanClass) return allocate_span_slow(size, align, holder);
  const auto block = pop_or_refill(magazines_[cls + 1], holder);
  if (canaries_ && block) write_canary(block->offset, geometry_.size_class(cls).usable_bytes);
  return block;
}

Error Heap::allocate_batch(std::uint64_t size, std::uint32_t align, Holder holder,
                           std::span<Allocation> out) {
  const auto cls = geometry_.class_of(size, align);
  if (!cls) return cls.error();
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto block = allocate_any(*cls, size, align, holder);
    if (block) {
      out[i] = *block;
      continue;
    }
    while (i-- > 0) [[maybe_unused]] const Error undone = free(out[i].ref);
    return block.error();
  }
  return Error::kNone;
}

HeapCounters Heap::counters() const {
  HeapCounters c = counters_;
  c.allocs = counters_.spans;
  c.local_frees = span_frees_;
  c.flushed_blocks = flushed_blocks_;
  for (const Magazine& m : magazines_) {
    c.allocs += m.allocs();
    c.local_frees += m.local_frees();
  }
  return c;
}

std::vector<ClassUsage> Heap::usage() const {
  std::vector<ClassUsage> rows(geometry_.class_count() + 1);
  for (std::uint32_t c = 0; c < geometry_.class_count(); ++c) {
    rows[c].cls = c;
    rows[c].cached_blocks = magazines_[c + 1].count();
  }
  rows.back().cls = kSpanClass;
  for_each_slab([&](const SlabState& s) {
    ClassUsage& r = s.cls == kSpanClass ? rows.back() : rows[s.cls];
    ++r.slabs;
    r.active_slabs += s.out() != 0;
    r.capacity_blocks += s.capacity;
    r.active_blocks += s.out();
    r.free_blocks += s.free_count;
    r.uncarved_blocks += s.capacity - s.carved;
    r.slab_bytes += s.units * kSlabUnitBytes;
  });
  std::erase_if(rows, [](const ClassUsage& r) { return r.slabs == 0; });
  return rows;
}

void Heap::for_each_block_out(
    const std::function<void(SlabIndex, std::uint32_t, std::uint64_t, BlockWord)>& f) const {
  for_each_slab([&](const SlabState& s) {
    const std::uint64_t stride =
        s.cls == kSpanClass ? s.units * kSlabUnitBytes : geometry_.size_class(s.cls).stride_bytes;
    for (std::uint32_t b = 0; b < s.carved; ++b) {
      const BlockWord w{words_[Slot::of(s.slab, {b}).value].load(std::memory_order_acquire)};
      if (w.tag() != BlockTag::kFree) f(s.slab, s.cls, stride, w);
    }
  });
}

}  // namespace arenad
