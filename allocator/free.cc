// Frees that do not stay in the owner's magazine: other heaps' blocks, spans, canaries, and refs from the wire.
#include "allocator/heap.h"

namespace arenad {

Error Heap::free_slow(Ref ref) {
  SlabState* const slab = slabs_[ref.slot().slab().value];
  return slab != nullptr ? free_local(ref, *slab) : free_remote(ref, owner_);
}

Error Heap::free_local(Ref ref, SlabState& slab) {
  // validate() knows only what the header says. The private count decides: beyond it lies another slab's memory.
  if (ref.slot().block().value >= slab.carved) return Error::kStaleRef;
  AtomicWord& word = words_[ref.slot().value];
  std::uint64_t bits = word.load(std::memory_order_acquire);
  do {
    if (!BlockWord(bits).is_held() || BlockWord(bits).generation() != ref.generation()) return arena_.refusal(ref, kNoSession);
    // As in free(): the exact word; a take-over in between makes us look again.
  } while (!word.compare_exchange_weak(bits, BlockWord::freed(bits), std::memory_order_acq_rel, std::memory_order_acquire));
  if (slab.cls == kSpanClass) {
    if (canaries_ && !canary_intact(slab.slab.value * kSlabUnitBytes + header_bytes_, span_usable(slab))) ++counters_.canary_damaged;
    ++span_frees_;
    release_slab(&slab);
    return Error::kNone;
  }
  const std::uint64_t entry = ref.value & Ref::kBlockMask;
  Magazine& m = magazines_[slab.cls + 1];
  if (canaries_ && !canary_intact(offset_of(entry, m.stride), geometry_.size_class(slab.cls).usable_bytes)) ++counters_.canary_damaged;
  ++m.local_frees;
  *m.freed_top++ = entry;
  if (m.freed_top == m.freed_limit) make_room_slow(m);
  return Error::kNone;
}

Error Heap::free_remote(Ref ref, SessionId freer) {
  const Slot slot = ref.slot();
  AtomicWord& word = words_[slot.value];
  std::uint64_t bits = word.load(std::memory_order_relaxed);
  do {
    if (!BlockWord(bits).is_held() || BlockWord(bits).generation() != ref.generation()) [[unlikely]]
      return arena_.refusal(ref, kNoSession);
    // HELD -> RETURNING(freer), the exact word. acq_rel: what the freer did to the block comes before the owner's reuse
    // (pairs with the owner's acquire in drain). Killed after it and before the returned bit: reap sets the bit.
  } while (!word.compare_exchange_weak(bits, BlockWord::returning(bits, freer), std::memory_order_acq_rel, std::memory_order_relaxed));
  ++counters_.remote_frees;
  if (canaries_) [[unlikely]] check_remote_canary(slot);
  const RemoteGather::Entry ready = gather_.add(slot);
  if (ready.bits != 0) publish_entry(ready);
  if (gather_.overdue()) [[unlikely]] publish();
  return Error::kNone;
}

FreeOutcome Heap::free_checked(UntrustedRef untrusted, SessionId freer, SessionId required_holder) {
  FreeOutcome out;
  const auto ref = arena_.validate(untrusted);
  if (!ref) {
    out.error = ref.error();
    return out;
  }
  const BlockWord word{words_[ref->slot().value].load(std::memory_order_acquire)};
  if (!word.is_held() || word.generation() != ref->generation() ||
      (required_holder != kNoSession && word.holder().session != required_holder)) {
    out.error = arena_.refusal(*ref, required_holder);
    return out;
  }
  out.holder = word.holder();
  const SlabIndex slab = ref->slot().slab();
  const std::uint64_t damaged_before = counters_.canary_damaged;
  if (SlabState* const mine = slabs_[slab.value]; mine != nullptr) {
    out.owner = id_;
    out.stride_bytes = mine->cls == kSpanClass ? mine->units * kSlabUnitBytes : geometry_.size_class(mine->cls).stride_bytes;
    out.error = free_local(*ref, *mine);
  } else {
    const SlabHeader& h = arena_.control().slab(slab);
    const SlabShape shape{h.shape.load(std::memory_order_acquire)};
    out.owner = {static_cast<std::uint16_t>(h.owner.load(std::memory_order_relaxed))};
    if (shape.kind() == SlabKind::kSpan)
      out.stride_bytes = shape.units() * kSlabUnitBytes;
    else if (shape.cls() < geometry_.class_count())
      out.stride_bytes = geometry_.size_class(shape.cls()).stride_bytes;
    out.error = free_remote(*ref, freer);
  }
  out.canary_damaged = counters_.canary_damaged != damaged_before;
  return out;
}

}  // namespace arenad
