#include "allocator/heap/freer.h"

#include <string>

#include "allocator/arena/arena_view.h"
#include "allocator/base/crash_point.h"
#include "allocator/heap/slab_checks.h"

namespace arenad {
namespace {

// The one CAS of a free, from the exact word. The word must be of the ref's `generation`. Returns
// the word that it replaced, or 0, which no HELD word is, when the ref is refused. When a take-over
// comes in between, the CAS fails and the holder is looked at again. acq_rel: what the freer did to
// the block comes before its reuse; pairs with the owner's acquire of the returned word
// (Drainer::take_returned).
template <class Next>
std::uint64_t replace_held(AtomicWord& word, std::uint32_t generation, SessionId required_holder,
                           Next next) {
  std::uint64_t bits = word.load(std::memory_order_relaxed);
  do {
    const BlockWord w{bits};
    if (!w.is_held_of(generation)) [[unlikely]]
      return 0;
    if (required_holder != kNoSession && w.holder().session() != required_holder) [[unlikely]]
      return 0;
    CRASH_POINT("free.word");
  } while (!word.compare_exchange_weak(bits, next(bits), std::memory_order_acq_rel,
                                       std::memory_order_relaxed));
  return bits;
}

// The word of a freed block of this heap.
auto freed_here(GenerationStep step) {
  return [step](std::uint64_t bits) { return BlockWord::freed(bits, step); };
}

// The word of a freed block that another heap owns. A kill after the CAS and before the returned
// bit leaves this word; the reaper then sets the bit.
auto returning_to_owner(SessionId freer, GenerationStep step) {
  return [=](std::uint64_t bits) { return BlockWord::returning(bits, freer, step); };
}

}  // namespace

Freer::Freer(ArenaView& arena, HeapId id, SessionId owner, SlabTable& slabs,
             std::span<Magazine> magazines, BlockTransfer& transfer, RemoteFrees& remote_frees,
             HeapCounters& counters)
    : arena_(arena),
      words_(arena.control().words()),
      id_(id),
      owner_(owner),
      slabs_(slabs),
      magazines_(magazines),
      transfer_(transfer),
      remote_frees_(remote_frees),
      counters_(counters),
      debug_(arena),
      wipe_(arena),
      refs_(arena.refs()),
      footprint_(arena.footprint_marker()),
      footprint_noted_(arena.unit_count()) {}

void Freer::note_footprint(SlabIndex slab) {
  if (footprint_.empty() || footprint_noted_[slab.value] != 0) return;
  footprint_.mark(slab);
  footprint_noted_[slab.value] = 1;
}

Error Freer::free(Ref ref) {
  const Slot slot = refs_.slot_of(ref);
  const SlabIndex at = slot.slab();
  const std::uint32_t generation = refs_.generation_of(ref);
  AtomicWord& word = words_[slot.value];
  if (SlabState* const slab = slabs_.find(at); slab != nullptr) {
    if (const Error e = local_refusal(ref, *slab, kNoSession, owner_); e != Error::kNone) return e;
    const std::uint64_t replaced = free_own(word, generation, *slab);
    if (replaced == 0) return refused(ref, kNoSession, owner_);
    look_at_freed(ref, *slab, replaced, owner_);
    settle_local(slot, *slab);
  } else {
    note_footprint(at);
    // Blocks mostly come back in the order of their addresses. So the next line of words is asked
    // for while this one is worked on.
    if ((ref.value & 7) == 0) prefetch_to_change(&word + 8);
    look_at_returning(ref, kNoSession, owner_);
    if (replace_held(word, generation, kNoSession, returning_to_owner(owner_, refs_.step())) == 0)
      return refused(ref, kNoSession, owner_);
    settle_remote(slot);
  }
  return Error::kNone;
}

// HELD -> FREE in this heap's own slab. A store, as in FastHeap::free. It is a CAS where a free
// also looks at the payload, ends the slab, or is made for another process.
std::uint64_t Freer::free_own(AtomicWord& word, std::uint32_t generation, const SlabState& slab) {
  if (slab.is_span || debug_.on() || wipe_.at_home() || slabs_.use() == HeapUse::kServesOthers)
    return replace_held(word, generation, kNoSession, freed_here(refs_.step()));
  const std::uint64_t bits = word.load(std::memory_order_relaxed);
  if (!BlockWord(bits).is_held_of(generation)) return 0;
  CRASH_POINT("free.own_word");
  // release: as in FastHeap::free_slot.
  word.store(BlockWord::freed(bits, refs_.step()), std::memory_order_release);
  return bits;
}

FreeOutcome Freer::free_checked(UntrustedRef untrusted, SessionId freer,
                                SessionId required_holder) {
  FreeOutcome out;
  const auto ref = arena_.validate(untrusted);
  if (!ref) {
    out.error = ref.error();
    debug_.refused(Ref{untrusted.value}, out.error, freer);
    return out;
  }
  const Slot slot = refs_.slot_of(*ref);
  AtomicWord& word = words_[slot.value];
  SlabState* const mine = slabs_.find(slot.slab());
  if (mine != nullptr) out.error = local_refusal(*ref, *mine, required_holder, freer);
  if (out.error != Error::kNone) return out;
  // Read before the CAS: after it the slab may start another life.
  const RunShape shape = arena_.run_at(slot.slab());
  const HeapId owner{static_cast<std::uint16_t>(
      arena_.control().slab(slot.slab()).owner.load(std::memory_order_relaxed))};
  if (mine == nullptr) {
    note_footprint(slot.slab());
    look_at_returning(*ref, required_holder, freer);
  }
  const std::uint64_t replaced =
      mine != nullptr
          ? replace_held(word, refs_.generation_of(*ref), required_holder, freed_here(refs_.step()))
          : replace_held(word, refs_.generation_of(*ref), required_holder,
                         returning_to_owner(freer, refs_.step()));
  if (replaced == 0) [[unlikely]] {
    out.error = refused(*ref, required_holder, freer);
    return out;
  }
  out.holder = BlockWord(replaced).holder();
  if (mine != nullptr) {
    look_at_freed(*ref, *mine, replaced, freer);
    out.owner = id_;
    out.stride_bytes = mine->stride_bytes;
    settle_local(slot, *mine);
  } else {
    out.owner = owner;
    out.stride_bytes = shape.stride_bytes;
    settle_remote(slot);
  }
  return out;
}

Error Freer::release(UntrustedRef untrusted, SessionId session) {
  const auto ref = arena_.validate(untrusted);
  if (!ref) return ref.error();
  const Slot slot = refs_.slot_of(*ref);
  const SlabIndex at = slot.slab();
  SlabState* const mine = slabs_.find(at);
  if (mine != nullptr) {
    if (const Error e = local_refusal(*ref, *mine, session, session); e != Error::kNone) return e;
  } else {
    note_footprint(at);
  }
  const std::uint64_t my_bits = arena_.sharer_bits(session);
  AtomicWord& word = words_[slot.value];
  std::uint64_t bits = word.load(std::memory_order_acquire);
  for (;;) {
    const BlockWord seen{bits};
    if (!refs_.is_of(*ref, seen) || !seen.is_shared()) return refused(*ref, session, session);
    if ((seen.sharers() & my_bits) == 0) return Error::kNotHolder;
    const std::uint64_t left = seen.sharers() & ~my_bits;
    const std::uint64_t next = left != 0 ? BlockWord::shared(bits, left)
                               : mine != nullptr
                                   ? BlockWord::freed(bits, refs_.step())
                                   : BlockWord::returning(bits, session, refs_.step());
    if (left == 0 && mine == nullptr && debug_.on()) [[unlikely]]
      debug_.freed(slot, seen, session);
    CRASH_POINT("release.word");
    // acq_rel: pairs with the same CAS of the other sharers. What each sharer did to the block
    // comes before its reuse, whoever is the last.
    if (!word.compare_exchange_weak(bits, next, std::memory_order_acq_rel,
                                    std::memory_order_acquire))
      continue;
    if (left != 0) return Error::kNone;
    if (mine == nullptr) {
      settle_remote(slot);
      return Error::kNone;
    }
    look_at_freed(*ref, *mine, bits, session);
    settle_local(slot, *mine);
    return Error::kNone;
  }
}

// validate knows only what the header says. In this heap's own slabs the private state decides:
// memory beyond the carved blocks may be another slab's, and nobody has a block that is at home.
Error Freer::local_refusal(Ref ref, const SlabState& slab, SessionId required_holder,
                           SessionId by) {
  const Slot slot = refs_.slot_of(ref);
  if (slot.block().value >= slab.carved) return Error::kStaleRef;
  if (slab.can_be_away(slot.block())) return Error::kNone;
  const BlockWord seen{words_[slot.value].load(std::memory_order_relaxed)};
  if (!refs_.is_of(ref, seen) || !(seen.is_held() || seen.is_shared()))
    return refused(ref, required_holder, by);
  return forged_word(slot, slab);
}

Error Freer::refused(Ref ref, SessionId required_holder, SessionId by) const {
  const Error why = arena_.refusal(ref, required_holder);
  if (debug_.on()) [[unlikely]]
    debug_.refused(ref, why, by);
  return why;
}

void Freer::look_at_freed(Ref ref, const SlabState& mine, std::uint64_t replaced, SessionId by) {
  if (!debug_.on()) [[likely]]
    return;
  debug_.freed(mine.place_of(refs_.slot_of(ref).block()), BlockWord(replaced), by);
  (void)slab_passes(arena_, debug_, id_, mine, ref, "freed");
}

void Freer::look_at_returning(Ref ref, SessionId required_holder, SessionId by) {
  if (!debug_.on()) [[likely]]
    return;
  const Slot slot = refs_.slot_of(ref);
  // acquire: pairs with whoever gave the block to its holder, as in ArenaView::describe.
  const BlockWord seen{words_[slot.value].load(std::memory_order_acquire)};
  if (!seen.is_held_of(refs_.generation_of(ref))) return;
  if (required_holder != kNoSession && seen.holder().session() != required_holder) return;
  debug_.freed(slot, seen, by);
}

[[gnu::cold]] Error Freer::forged_word(Slot slot, const SlabState& slab) {
  transfer_.guard_forged_free(slab, refs_.entry_of(slot));
  ++counters_.guard_trips;
  if (debug_.flags().checks)
    debug_.found(refs_.ref_of(slot, BlockWord(words_[slot.value].load(std::memory_order_relaxed))),
                 "freed while it was free; its word had been forged to say HELD");
  arena_.quarantine([slot] {
    return "block word of a free block said HELD, slot " + std::to_string(slot.value);
  });
  return Error::kQuarantined;
}

void Freer::settle_local(Slot slot, SlabState& slab) {
  const std::uint64_t block = slot.block().value;
  slabs_.note_home(slab, slot.block());
  if (wipe_.at_home())
    wipe_.wipe(slab.payload_offset + block * slab.stride_bytes, slab.usable_bytes);
  if (slab.is_span) {
    ++span_frees_;
    slabs_.release(slab);
    return;
  }
  Magazine& m = magazines_[slab.cls.value];
  *m.freed_top++ = refs_.entry_of(slot);
  if (m.freed_top == m.freed_limit) transfer_.make_room(m);
}

void Freer::settle_remote(Slot slot) {
  ++counters_.remote_frees;
  remote_frees_.add(slot);
}

}  // namespace arenad
