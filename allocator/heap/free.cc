// Frees that do not stay in the owner's magazine: other heaps' blocks, spans, canaries, and refs
// from the wire.
#include "allocator/base/crash_point.h"
#include "allocator/heap/heap.h"

namespace arenad {

namespace {

// The one CAS of a free, from the exact word. Returns the word that it replaced; 0, which no HELD
// word is, when the ref is refused. A take-over in between makes us look again, at the holder too.
// acq_rel: what the freer did to the block comes before its reuse (pairs with the owner's acquire
// in drain).
template <class Next>
inline std::uint64_t replace_held(AtomicWord& word, Ref ref, SessionId required_holder, Next next) {
  std::uint64_t bits = word.load(std::memory_order_relaxed);
  do {
    const BlockWord w{bits};
    if (!w.is_held() || w.generation() != ref.generation()) [[unlikely]]
      return 0;
    if (required_holder != kNoSession && w.holder().session() != required_holder) [[unlikely]]
      return 0;
    CRASH_POINT("free.word");
  } while (!word.compare_exchange_weak(bits, next(bits), std::memory_order_acq_rel,
                                       std::memory_order_relaxed));
  return bits;
}

// What becomes of a block that another heap owns. Killed after it and before the returned bit: reap
// sets the bit.
auto returning_to_owner(SessionId freer) {
  return [freer](std::uint64_t bits) { return BlockWord::returning(bits, freer); };
}

}  // namespace

Error Heap::free_any(Ref ref) {
  const SlabIndex at = ref.slot().slab();
  AtomicWord& word = words_[ref.slot().value];
  if (SlabState* const slab = slabs_[at.value]; slab != nullptr) {
    if (ref.slot().block().value >= slab->carved) return Error::kStaleRef;
    if (replace_held(word, ref, kNoSession, BlockWord::freed) == 0)
      return arena_.refusal(ref, kNoSession);
    settle_local(ref, *slab);
  } else {
    touch(at);
    // Blocks mostly come back in the order of their addresses: the next line of words is on its way
    // while this one is worked on.
    if ((ref.value & 7) == 0) prefetch_to_change(&word + 8);
    if (replace_held(word, ref, kNoSession, returning_to_owner(owner_)) == 0)
      return arena_.refusal(ref, kNoSession);
    settle_remote(ref.slot());
  }
  return Error::kNone;
}

Error Heap::release(UntrustedRef untrusted, SessionId session) {
  const auto ref = arena_.validate(untrusted);
  if (!ref) return ref.error();
  const SlabIndex at = ref->slot().slab();
  SlabState* const mine = slabs_[at.value];
  if (mine != nullptr && ref->slot().block().value >= mine->carved) return Error::kStaleRef;
  if (mine == nullptr) touch(at);
  const std::uint64_t my_bits = arena_.sharer_bits(session);
  AtomicWord& word = words_[ref->slot().value];
  std::uint64_t bits = word.load(std::memory_order_acquire);
  for (;;) {
    const BlockWord seen{bits};
    if (seen.generation() != ref->generation() || !seen.is_shared())
      return arena_.refusal(*ref, session);
    if ((seen.sharers() & my_bits) == 0) return Error::kNotHolder;
    const std::uint64_t left = seen.sharers() & ~my_bits;
    const std::uint64_t next = left != 0         ? BlockWord::shared(bits, left)
                               : mine != nullptr ? BlockWord::freed(bits)
                                                 : BlockWord::returning(bits, session);
    CRASH_POINT("release.word");
    // acq_rel: what each sharer did to the block comes before its reuse, whoever is the last.
    if (!word.compare_exchange_weak(bits, next, std::memory_order_acq_rel,
                                    std::memory_order_acquire))
      continue;
    if (left != 0) return Error::kNone;
    if (mine != nullptr)
      settle_local(*ref, *mine);
    else
      settle_remote(ref->slot());
    return Error::kNone;
  }
}

void Heap::settle_local(Ref ref, SlabState& slab) {
  if (slab.cls == kSpanClass) {
    if (canaries_ &&
        !canary_intact(slab.slab.value * kSlabUnitBytes + header_bytes_, span_usable(slab)))
      ++counters_.canary_damaged;
    ++span_frees_;
    release_slab(&slab);
    return;
  }
  const std::uint64_t entry = ref.value & Ref::kBlockMask;
  Magazine& m = magazines_[slab.cls + 1];
  if (canaries_ &&
      !canary_intact(offset_of(entry, m.stride), geometry_.size_class(slab.cls).usable_bytes))
    ++counters_.canary_damaged;
  *m.freed_top++ = entry;
  if (m.freed_top == m.freed_limit) make_room(m);
}

void Heap::settle_remote(Slot slot) {
  ++counters_.remote_frees;
  if (canaries_) [[unlikely]]
    check_remote_canary(slot);
  const RemoteGather::Entry ready = gather_.add(slot);
  if (ready.bits != 0) publish_entry(ready);
  if (gather_.overdue()) [[unlikely]]
    publish();
}

FreeOutcome Heap::free_checked(UntrustedRef untrusted, SessionId freer, SessionId required_holder) {
  FreeOutcome out;
  const auto ref = arena_.validate(untrusted);
  if (!ref) {
    out.error = ref.error();
    return out;
  }
  const Slot slot = ref->slot();
  AtomicWord& word = words_[slot.value];
  SlabState* const mine = slabs_[slot.slab().value];
  // validate() knows only what the header says. The private count decides: beyond it lies another
  // slab's memory.
  if (mine != nullptr && slot.block().value >= mine->carved) {
    out.error = Error::kStaleRef;
    return out;
  }
  // Read before the CAS: after it the slab may start another life.
  const SlabHeader& h = arena_.control().slab(slot.slab());
  const SlabShape shape = arena_.shape_of(slot.slab());
  const HeapId owner{static_cast<std::uint16_t>(h.owner.load(std::memory_order_relaxed))};
  if (mine == nullptr) touch(slot.slab());
  const std::uint64_t replaced =
      mine != nullptr ? replace_held(word, *ref, required_holder, BlockWord::freed)
                      : replace_held(word, *ref, required_holder, returning_to_owner(freer));
  if (replaced == 0) [[unlikely]] {
    out.error = arena_.refusal(*ref, required_holder);
    return out;
  }
  out.holder = BlockWord(replaced).holder();
  const std::uint64_t damaged_before = counters_.canary_damaged;
  if (mine != nullptr) {
    out.owner = id_;
    out.stride_bytes = mine->cls == kSpanClass ? mine->units * kSlabUnitBytes
                                               : geometry_.size_class(mine->cls).stride_bytes;
    settle_local(*ref, *mine);
  } else {
    out.owner = owner;
    if (shape.kind() == SlabKind::kSpan)
      out.stride_bytes = shape.units() * kSlabUnitBytes;
    else if (shape.cls() < geometry_.class_count())
      out.stride_bytes = geometry_.size_class(shape.cls()).stride_bytes;
    settle_remote(slot);
  }
  out.canary_damaged = counters_.canary_damaged != damaged_before;
  return out;
}

}  // namespace arenad
