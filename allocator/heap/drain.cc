// Drain: the owner takes back what other heaps freed. And its counterpart, publishing.
//
// Top down: clear a pending bit first, then exchange(0) the words below it; so a freer that comes
// in between sets the pending bit again. A returned bit is only a hint where to look: a block is
// taken iff its word says RETURNING.
#include <bit>

#include "allocator/base/crash_point.h"
#include "allocator/heap/heap.h"

namespace arenad {

void Heap::publish_entry(const RemoteGather::Entry& entry) {
  const HeapId to = arena_.publish_returned(entry.key, entry.bits, false);
  if (to.value < remote_frees_to_.size()) remote_frees_to_[to.value] += std::popcount(entry.bits);
}

void Heap::publish() {
  gather_.take_all([this](const RemoteGather::Entry& e) { publish_entry(e); });
}

bool Heap::has_pending() const {
  const std::atomic<std::uint64_t>* summary = arena_.control().pending_summary(id_);
  for (std::uint32_t i = 0; i < arena_.control().pending_summary_count(); ++i)
    if (summary[i].load(std::memory_order_relaxed) != 0) return true;
  return false;
}

std::uint64_t Heap::drain() {
  ControlView& control = arena_.control();
  std::atomic<std::uint64_t>* const summary = control.pending_summary(id_);
  std::atomic<std::uint64_t>* const words = control.pending_words(id_);
  const std::uint32_t superslabs = arena_.superslab_count();
  std::uint64_t taken = 0;
  for (std::uint32_t i = 0; i < control.pending_summary_count(); ++i) {
    if (summary[i].load(std::memory_order_relaxed) == 0) continue;
    CRASH_POINT("drain.summary");
    for (std::uint64_t tops = summary[i].exchange(0); tops != 0; tops &= tops - 1) {
      const std::uint32_t w = i * 64 + static_cast<std::uint32_t>(std::countr_zero(tops));
      if (w >= control.pending_word_count()) continue;  // bits beyond the arena mean nothing
      CRASH_POINT("drain.heap_pending");
      for (std::uint64_t bits = words[w].exchange(0); bits != 0; bits &= bits - 1) {
        const std::uint32_t superslab = w * 64 + static_cast<std::uint32_t>(std::countr_zero(bits));
        if (superslab >= superslabs) continue;
        // Only the bits of my slabs: the others' owners have been told themselves.
        const std::uint32_t mine =
            control.superslab({superslab}).pending.load() & my_units_[superslab];
        if (mine == 0) continue;
        CRASH_POINT("drain.superslab_pending");
        control.superslab({superslab}).pending.fetch_and(~mine);
        for (std::uint32_t units = mine; units != 0; units &= units - 1)
          taken += drain_slab(*slabs_[superslab * kUnitsPerSuperslab +
                                      static_cast<std::uint32_t>(std::countr_zero(units))]);
      }
    }
  }
  return taken;
}

std::uint64_t Heap::drain_slab(SlabState& slab) {
  ControlView& control = arena_.control();
  std::uint64_t taken = 0;
  for (std::uint32_t w = 0; w < slab.word_count(); ++w) {
    std::atomic<std::uint64_t>& returned = control.returned(slab.slab, w);
    if (returned.load(std::memory_order_relaxed) == 0) continue;
    CRASH_POINT("drain.returned");
    // acquire: pairs with the freer's fetch_or, which follows its CAS to RETURNING.
    std::uint64_t bits = returned.exchange(0, std::memory_order_acq_rel);
    const std::uint32_t left = slab.capacity - w * 64;
    if (left < 64) bits &= (std::uint64_t{1} << left) - 1;
    AtomicWord* const first = &words_[Slot::of(slab.slab, {w * 64}).value];
    for (; bits != 0; bits &= bits - 1) {
      const auto b = static_cast<std::uint32_t>(std::countr_zero(bits));
      const std::uint64_t word = first[b].load(std::memory_order_relaxed);
      if (!BlockWord(word).is_returning() || w * 64 + b >= slab.carved)
        continue;  // a late or repeated bit
      CRASH_POINT("drain.word");
      // RETURNING -> FREE: only the owner does this, so a plain store. Killed before it: still
      // RETURNING, and an adopter takes RETURNING blocks whatever their bits say.
      first[b].store(BlockWord::free_of(word), std::memory_order_release);
      if (!slab.put_free({w * 64 + b})) [[unlikely]] {
        ++counters_.guard_trips;  // the word was forged: the block was free already
        arena_.quarantine("block word of a free block said RETURNING, slab " +
                          std::to_string(slab.slab.value));
        continue;
      }
      ++taken;
    }
  }
  ++counters_.drains;
  if (taken == 0) return 0;
  counters_.drained_blocks += taken;
  if (slab.cls == kSpanClass) {
    drained_spans_ += taken;
    release_slab(&slab);
    return taken;
  }
  active_blocks_ -= taken;
  gained(slab);
  return taken;
}

std::uint64_t Heap::drain_everything() {
  std::uint64_t taken = drain();
  for (SlabState* s : all_slabs()) {  // drain_slab may release the slab it works on
    bool any = false;
    for (std::uint32_t w = 0; w < s->word_count() && !any; ++w)
      any = arena_.control().returned(s->slab, w).load(std::memory_order_relaxed) != 0;
    if (any) taken += drain_slab(*s);
  }
  return taken;
}

std::uint64_t Heap::trim() {
  publish();
  drain_everything();
  std::uint64_t bytes = 0;
  for (std::uint32_t c = 0; c < geometry_.class_count(); ++c) {
    flush(magazines_[c + 1]);
    bytes += release_empty(c);
  }
  return bytes;
}

std::uint64_t Heap::idle_tick() {
  publish();
  drain_everything();
  std::uint64_t bytes = 0;
  for (std::uint32_t c = 0; c < geometry_.class_count(); ++c) {
    Magazine& m = magazines_[c + 1];
    if (m.allocs() == m.allocs_at_tick) {
      flush(m);
      bytes += release_empty(c);
    }
    m.allocs_at_tick = m.allocs();
  }
  return bytes;
}

// Gives back all slabs of a class from which nothing is out.
std::uint64_t Heap::release_empty(std::uint32_t cls) {
  std::uint64_t bytes = 0;
  for (SlabState* s = partial_[cls].front(); s != nullptr;) {
    SlabState* const next = s->next;
    if (s->out() == 0) {
      if (s->carved != 0) --empty_slabs_[cls];
      bytes += s->units * kSlabUnitBytes;
      release_slab(s);
    }
    s = next;
  }
  return bytes;
}

}  // namespace arenad
