#include "allocator/arena/arena_view.h"

#include <algorithm>

#include "allocator/arena/block_debug.h"
#include "allocator/base/crash_point.h"

namespace arenad {

ArenaView::ArenaView(const ArenaConfig& config, MemoryFile data, MemoryFile control)
    : config_(config),
      geometry_(config.layout),
      refs_(config.id, slot_limit()),
      data_(std::move(data)),
      control_(std::move(control)),
      control_view_(control_.base(), config.capacity_bytes, config.max_heaps),
      sharers_(control_view_.sharers()) {}

RunShape ArenaView::run_at(SlabIndex first) const {
  const SlabShape shape = shape_of(first);
  return geometry_.run_shape(shape.kind(), shape.cls(), shape.units());
}

Result<Ref> ArenaView::validate(UntrustedRef untrusted) const {
  const Ref ref{untrusted.value};
  const Slot slot = refs_.slot_of(ref);
  const SlabIndex slab = slot.slab();
  if (ref.arena() != config_.id || slab.value >= unit_count()) return Error::kForeignRef;
  if (!committed(superslab_of(slab))) return Error::kStaleRef;
  // acquire: pairs with the owner's release of shape in prepare_run and of carved in carve.
  const SlabHeader& h = control_view_.slab(slab);
  const SlabShape shape = shape_of(slab);
  if (shape.kind() == SlabKind::kNone) return Error::kStaleRef;
  const std::uint32_t most = std::min(shape.capacity(), kMaxBlocksPerSlab);
  if (slot.block().value >= std::min(h.carved.load(std::memory_order_acquire), most))
    return Error::kStaleRef;
  return ref;
}

BlockFacts ArenaView::describe(UntrustedRef untrusted) const {
  BlockFacts facts;
  const auto ref = validate(untrusted);
  if (!ref) {
    if (ref.error() == Error::kStaleRef) facts.state = BlockFacts::State::kStale;
    return facts;
  }
  const Slot slot = refs_.slot_of(*ref);
  const RunShape shape = run_at(slot.slab());
  const BlockWord word_seen{word(slot).load(std::memory_order_acquire)};
  facts.heap = {static_cast<std::uint16_t>(
      control_view_.slab(slot.slab()).owner.load(std::memory_order_relaxed))};
  facts.generation = refs_.number_of(word_seen);
  if (shape.kind == SlabKind::kNone) return facts;  // forged, or given back this moment
  facts.cls = shape.cls;
  facts.usable_bytes = shape.usable_bytes;
  facts.stride_bytes = shape.stride_bytes;
  facts.offset_bytes = geometry_.payload_offset(shape, slot);
  if (config_.debug.tracking && facts.offset_bytes < capacity_bytes())
    facts.track = track_of(*this, facts.offset_bytes);
  if (!refs_.is_of(*ref, word_seen)) {
    facts.state = BlockFacts::State::kStale;
    return facts;
  }
  switch (word_seen.tag()) {
    case BlockTag::kFree: facts.state = BlockFacts::State::kFree; break;
    case BlockTag::kHeld: facts.state = BlockFacts::State::kHeld; break;
    case BlockTag::kReturning: facts.state = BlockFacts::State::kReturning; break;
    case BlockTag::kShared: facts.state = BlockFacts::State::kShared; break;
  }
  if (word_seen.is_held() || word_seen.is_returning()) facts.holder = word_seen.holder();
  return facts;
}

Error ArenaView::refusal(Ref ref, SessionId required_holder) const {
  const BlockWord w{word(refs_.slot_of(ref)).load(std::memory_order_acquire)};
  const std::uint32_t next = refs_.after(refs_.generation_of(ref));
  if (w.generation() == next && !w.is_held() && !w.is_shared()) return Error::kDoubleFree;
  if (!refs_.is_of(ref, w)) return Error::kStaleRef;
  if (w.is_held() && required_holder != kNoSession && w.holder().session() != required_holder)
    return Error::kNotHolder;
  return w.tag() == BlockTag::kFree ? Error::kForeignRef : Error::kNotHolder;
}

Result<Holder> ArenaView::acquire(UntrustedRef untrusted, Holder to) {
  const auto ref = validate(untrusted);
  if (!ref) return ref.error();
  const Slot slot = refs_.slot_of(*ref);
  footprint_.mark(slot.slab());
  AtomicWord& w = word(slot);
  std::uint64_t bits = w.load(std::memory_order_acquire);
  while (BlockWord(bits).is_held() && refs_.is_of(*ref, BlockWord(bits))) {
    const std::uint64_t mine = (bits & ~BlockWord::kLowMask) | to.bits();
    CRASH_POINT("acquire.word");
    // acq_rel: pairs with the allocating owner's release store, so that what the holder before
    // wrote is seen.
    if (w.compare_exchange_weak(bits, mine, std::memory_order_acq_rel, std::memory_order_acquire))
      return BlockWord(bits).holder();
  }
  return refusal(*ref, kNoSession);
}

Error ArenaView::share(UntrustedRef untrusted, SessionId session) {
  const auto ref = validate(untrusted);
  if (!ref) return ref.error();
  const std::uint64_t mine = sharers_.claim(session);
  if (mine == 0) return Error::kSharersFull;
  const Slot slot = refs_.slot_of(*ref);
  footprint_.mark(slot.slab());
  AtomicWord& w = word(slot);
  std::uint64_t bits = w.load(std::memory_order_acquire);
  for (;;) {
    const BlockWord seen{bits};
    const bool mine_held = seen.is_held() && seen.holder().session() == session;
    if (!refs_.is_of(*ref, seen) || !(mine_held || seen.is_shared())) return refusal(*ref, session);
    if (seen.is_shared() && (seen.sharers() & mine) != 0) return Error::kNone;
    const std::uint64_t next =
        BlockWord::shared(bits, (seen.is_shared() ? seen.sharers() : 0) | (mine & -mine));
    CRASH_POINT("share.word");
    // acq_rel: what the sharers before wrote is seen, and a release that follows carries what this
    // one writes.
    if (w.compare_exchange_weak(bits, next, std::memory_order_acq_rel, std::memory_order_acquire))
      return Error::kNone;
  }
}

Result<Ref> ArenaView::ref_at(std::uint64_t payload_offset) const {
  const std::uint64_t offset = payload_offset - geometry_.layout().header_bytes;
  if (offset >= capacity_bytes()) return Error::kForeignRef;
  // The run begins at this unit, or before it in the same superslab. A span of several superslabs
  // begins at its block, so it need not be looked for further down.
  auto unit = static_cast<std::uint32_t>(offset / kSlabUnitBytes);
  const SuperslabIndex superslab = superslab_of({unit});
  if (!committed(superslab)) return Error::kForeignRef;
  RunShape shape = run_at({unit});
  while (shape.kind == SlabKind::kNone || offset - unit * kSlabUnitBytes >= shape.bytes()) {
    if (SlabIndex{unit} == first_unit_of(superslab)) return Error::kForeignRef;
    shape = run_at({--unit});
  }
  const std::uint64_t in_run = offset - unit * kSlabUnitBytes;
  const std::uint32_t block = geometry_.block_at(shape, in_run);
  if (block * shape.stride_bytes != in_run) return Error::kForeignRef;
  const std::uint32_t carved = control_view_.slab({unit}).carved.load(std::memory_order_acquire);
  if (block >= std::min(carved, kMaxBlocksPerSlab)) return Error::kForeignRef;
  const Slot slot = Slot::of({unit}, {block});
  return refs_.ref_of(slot, BlockWord(word(slot).load(std::memory_order_acquire)));
}

HeapId ArenaView::publish_returned(std::uint64_t key, std::uint64_t bits, bool force) {
  const Slot first{key << 6};
  const SlabIndex slab = first.slab();
  const SuperslabIndex superslab = superslab_of(slab);
  CRASH_POINT("publish.returned");
  // seq_cst throughout: the returned bit must be in memory before the owner is read (pairs with an
  // adopter's store of owner followed by its scan of the words). On x86 every read-modify-write is
  // a full barrier anyway.
  const std::uint64_t before =
      control_view_.returned(slab, first.block().value / 64).fetch_or(bits);
  if (before != 0 && !force)
    return {
        static_cast<std::uint16_t>(control_view_.slab(slab).owner.load(std::memory_order_relaxed))};
  const std::uint32_t unit_bit = unit_bit_of(slab);
  CRASH_POINT("publish.superslab_pending");
  const bool superslab_known =
      (control_view_.superslab(superslab).pending.fetch_or(unit_bit) & unit_bit) != 0;
  const HeapId heap{static_cast<std::uint16_t>(control_view_.slab(slab).owner.load())};
  if ((superslab_known && !force) || heap.value >= config_.max_heaps) return heap;
  const std::uint32_t word = superslab.value / 64;
  CRASH_POINT("publish.heap_pending");
  const std::uint64_t heap_before =
      control_view_.pending_words(heap)[word].fetch_or(std::uint64_t{1} << (superslab.value % 64));
  if (heap_before == 0 || force) {
    CRASH_POINT("publish.summary");
    control_view_.pending_summary(heap)[word / 64].fetch_or(std::uint64_t{1} << (word % 64));
  }
  return heap;
}

void ArenaView::announce(SlabIndex first, std::uint32_t capacity) {
  const std::uint32_t unit_bit = unit_bit_of(first);
  bool stands = (control_view_.superslab(superslab_of(first)).pending.load() & unit_bit) != 0;
  for (std::uint32_t w = 0; w < (capacity + 63) / 64 && !stands; ++w)
    stands = control_view_.returned(first, w).load() != 0;
  if (stands) publish_returned(Slot::of(first, {0}).value >> 6, 0, true);
}

void ArenaView::raise_summary(HeapId id) {
  const std::atomic<std::uint64_t>* const words = control_view_.pending_words(id);
  for (std::uint32_t w = 0; w < control_view_.pending_word_count(); ++w) {
    if (words[w].load() == 0) continue;
    CRASH_POINT("raise.summary");
    control_view_.pending_summary(id)[w / 64].fetch_or(std::uint64_t{1} << (w % 64));
  }
}

Error ArenaView::enlist_heap(HeapId id, SessionId owner) {
  CRASH_POINT("enlist.owner");
  control_view_.heap(id).owner.store(owner.value, std::memory_order_relaxed);
  CRASH_POINT("enlist.state");
  control_view_.heap(id).state.store(1, std::memory_order_release);
  return Error::kNone;
}

void ArenaView::prepare_run(SlabIndex first, HeapId heap, const RunShape& shape) {
  const SuperslabIndex superslab = superslab_of(first);
  SlabHeader& h = control_view_.slab(first);
  CRASH_POINT("prepare.carved");
  h.carved.store(0, std::memory_order_relaxed);
  CRASH_POINT("prepare.owner");
  h.owner.store(heap.value);  // seq_cst, before anything of the slab is out: see publish_returned
  CRASH_POINT("prepare.shape");
  h.shape.store(SlabShape::of(shape).bits, std::memory_order_release);
  // What late or repeated returned bits of the slab's life before have left: first the pending bit,
  // then the words. A freer of this life comes later than both, so it finds them 0 and announces
  // itself to this heap.
  const std::uint32_t unit_bit = unit_bit_of(first);
  if ((control_view_.superslab(superslab).pending.load() & unit_bit) != 0) {
    CRASH_POINT("prepare.pending");
    control_view_.superslab(superslab).pending.fetch_and(~unit_bit);
  }
  for (std::uint32_t w = 0; w < (shape.capacity + 63) / 64; ++w) {
    if (control_view_.returned(first, w).load(std::memory_order_relaxed) == 0) continue;
    CRASH_POINT("prepare.returned");
    control_view_.returned(first, w).exchange(0, std::memory_order_acq_rel);
  }
}

}  // namespace arenad
