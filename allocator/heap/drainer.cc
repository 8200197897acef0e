#include "allocator/heap/drainer.h"

#include <bit>
#include <string>

#include "allocator/arena/arena_view.h"
#include "allocator/base/crash_point.h"

namespace arenad {

bool Drainer::has_pending() const {
  const std::atomic<std::uint64_t>* summary = arena_.control().pending_summary(id_);
  // relaxed: a hint. drain's exchange orders what follows.
  return slabs_.regions().any_of([summary](std::uint32_t region) {
    return summary[region].load(std::memory_order_relaxed) != 0;
  });
}

std::uint64_t Drainer::drain() {
  collect();
  return take_all();
}

std::uint64_t Drainer::drain_class(ClassId cls) {
  if (has_pending()) collect();
  return take(cls);
}

// Only where this heap has slabs: see Regions for why nothing is missed.
void Drainer::collect() {
  std::atomic<std::uint64_t>* const summary = arena_.control().pending_summary(id_);
  slabs_.regions().any_of([&](std::uint32_t region) {
    if (summary[region].load(std::memory_order_relaxed) != 0) collect_region(region);
    return false;
  });
}

void Drainer::collect_region(std::uint32_t region) {
  ControlView& control = arena_.control();
  std::atomic<std::uint64_t>* const words = control.pending_words(id_);
  const std::uint32_t superslabs = arena_.superslab_count();
  CRASH_POINT("drain.summary");
  // seq_cst, as all exchanges of pending bits: each pairs with the fetch_or of the same word in
  // ArenaView::publish_returned. Either the freer's bit is seen here, or the freer sees 0 and
  // sets the bit above it again.
  for (std::uint64_t tops = control.pending_summary(id_)[region].exchange(0); tops != 0;
       tops &= tops - 1) {
    const std::uint32_t w = region * 64 + static_cast<std::uint32_t>(std::countr_zero(tops));
    if (w >= control.pending_word_count()) continue;  // bits beyond the arena mean nothing
    CRASH_POINT("drain.heap_pending");
    for (std::uint64_t bits = words[w].exchange(0); bits != 0; bits &= bits - 1) {
      const std::uint32_t superslab = w * 64 + static_cast<std::uint32_t>(std::countr_zero(bits));
      if (superslab < superslabs) collect_superslab({superslab});
    }
  }
}

void Drainer::collect_superslab(SuperslabIndex superslab) {
  // Only the bits of this heap's slabs. The owners of the others have been told themselves.
  auto& pending = arena_.control().superslab(superslab).pending;
  const std::uint32_t mine = pending.load() & slabs_.units_in(superslab);
  if (mine == 0) return;
  CRASH_POINT("drain.superslab_pending");
  // seq_cst: pairs with the fetch_or of pending in ArenaView::publish_returned, as above.
  pending.fetch_and(~mine);
  for (std::uint32_t units = mine; units != 0; units &= units - 1) {
    const auto unit = static_cast<std::uint32_t>(std::countr_zero(units));
    list(*slabs_.find({first_unit_of(superslab).value + unit}));
  }
}

void Drainer::list(SlabState& slab) {
  if (slab.announced) return;
  slab.announced = true;
  announced_[slab.is_span ? kMaxClasses : slab.cls.value].push_back(slab.slab);
}

// The slabs of one class, or the spans for kSpanClass.
std::uint64_t Drainer::take(ClassId cls) {
  std::vector<SlabIndex>& listed = announced_[cls == kSpanClass ? kMaxClasses : cls.value];
  std::uint64_t taken = 0;
  for (const SlabIndex first : listed) {
    // Meanwhile the slab may have gone, and a slab of another class may have come.
    SlabState* const slab = slabs_.find(first);
    if (slab == nullptr || slab->cls != cls || !slab->announced) continue;
    slab->announced = false;
    taken += drain_slab(*slab);
  }
  listed.clear();
  return taken;
}

std::uint64_t Drainer::take_all() {
  std::uint64_t taken = take(kSpanClass);
  for (std::size_t c = 0; c < magazines_.size(); ++c) {
    if (announced_[c].empty()) continue;
    // Without away bits only an empty magazine tells which blocks are away.
    if (slabs_.use() != HeapUse::kServesOthers) transfer_.flush(magazines_[c]);
    taken += take({static_cast<std::uint8_t>(c)});
  }
  return taken;
}

// The slab may be gone afterwards.
std::uint64_t Drainer::drain_slab(SlabState& slab) {
  std::uint64_t taken = 0;
  for (std::uint32_t w = 0; w < slab.word_count(); ++w) taken += take_returned(slab, w);
  ++counters_.drains;
  if (taken == 0) return 0;
  counters_.drained_blocks += taken;
  if (slab.is_span) {
    spans_ += taken;
    slabs_.release(slab);
  } else {
    slabs_.came_home(taken);
    slabs_.gained(slab);
  }
  return taken;
}

// The block of a RETURNING word is at home, so the word was forged.
[[gnu::cold]] void Drainer::forged_word(const SlabState& slab) {
  ++counters_.guard_trips;
  arena_.quarantine([&slab] {
    return "block word of a free block said RETURNING, slab " + std::to_string(slab.slab.value);
  });
}

// Wipes what take_returned is about to take. Before the words say FREE: a kill in between leaves
// RETURNING, and the block is wiped again.
[[gnu::cold]] void Drainer::wipe_returned(const SlabState& slab, BlockIndex first,
                                          std::uint64_t bits) const {
  for (; bits != 0; bits &= bits - 1) {
    const BlockIndex block{first.value + static_cast<std::uint32_t>(std::countr_zero(bits))};
    const std::uint64_t seen =
        arena_.word(Slot::of(slab.slab, block)).load(std::memory_order_relaxed);
    if (!BlockWord(seen).is_returning() || block.value >= slab.carved || !slab.can_be_away(block))
      continue;
    wipe_.wipe(slab.payload_offset + std::uint64_t{block.value} * slab.stride_bytes,
               slab.usable_bytes);
  }
}

// The blocks of one returned word.
std::uint64_t Drainer::take_returned(SlabState& slab, std::uint32_t word_index) {
  std::atomic<std::uint64_t>& returned = arena_.control().returned(slab.slab, word_index);
  if (returned.load(std::memory_order_relaxed) == 0) return 0;
  CRASH_POINT("drain.returned");
  // acquire: pairs with the fetch_or of the same word in ArenaView::publish_returned, which follows
  // the freer's CAS to RETURNING.
  std::uint64_t bits = returned.exchange(0, std::memory_order_acq_rel);
  const std::uint32_t first_block = word_index * 64;
  const std::uint32_t left = slab.capacity - first_block;
  if (left < 64) bits &= (std::uint64_t{1} << left) - 1;
  if (wipe_.at_home()) [[unlikely]]
    wipe_returned(slab, {first_block}, bits);
  // Once for all blocks: the stores below keep the compiler from remembering the address itself.
  AtomicWord* const words = &arena_.word(Slot::of(slab.slab, {first_block}));
  std::uint64_t taken = 0;
  for (; bits != 0; bits &= bits - 1) {
    const auto bit = static_cast<std::uint32_t>(std::countr_zero(bits));
    const BlockIndex block{first_block + bit};
    AtomicWord& word = words[bit];
    // relaxed: the acquire of the returned word above orders it.
    const std::uint64_t seen = word.load(std::memory_order_relaxed);
    // The bit may be late, repeated or forged.
    if (!BlockWord(seen).is_returning() || block.value >= slab.carved) continue;
    // So may the word. A block that is at home stays where it is.
    if (!slab.can_be_away(block)) [[unlikely]] {
      forged_word(slab);
      continue;
    }
    CRASH_POINT("drain.word");
    // RETURNING -> FREE. Only the owner does this, so a plain store is enough. release: pairs with
    // the acquire loads of the word in ArenaView::describe and acquire, and in the reaper. A kill
    // before the store leaves RETURNING, and an adopter takes RETURNING blocks whatever their bits
    // say.
    word.store(BlockWord::free_of(seen), std::memory_order_release);
    slabs_.note_home(slab, block);
    slab.put_free(block);
    ++taken;
  }
  return taken;
}

std::uint64_t Drainer::drain_all() {
  collect();
  for (SlabState* const slab : slabs_.all()) {  // list() releases none
    bool any = false;
    for (std::uint32_t w = 0; w < slab->word_count() && !any; ++w)
      any = arena_.control().returned(slab->slab, w).load(std::memory_order_relaxed) != 0;
    if (any) list(*slab);
  }
  return take_all();
}

}  // namespace arenad
