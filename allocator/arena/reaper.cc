#include "allocator/arena/reaper.h"

#include <algorithm>

#include "allocator/base/crash_point.h"

namespace arenad {

// What a word becomes without the dead session; 0 when the word stays as it is.
std::uint64_t Reaper::without(const Dead& dead, BlockWord word) {
  if (word.is_held() && word.holder().session() == dead.session)
    return BlockWord::returning(word.bits(), kReaperSession);
  if (!word.is_shared() || (word.sharers() & dead.sharer_bits) == 0) return 0;
  const std::uint64_t left = word.sharers() & ~dead.sharer_bits;
  return left != 0 ? BlockWord::shared(word.bits(), left)
                   : BlockWord::returning(word.bits(), kReaperSession);
}

bool Reaper::reap_block(Slot slot, std::uint64_t stride_bytes, const Dead& dead,
                        ReapResult& result) {
  AtomicWord& word = arena_.word(slot);
  std::uint64_t seen = word.load(std::memory_order_acquire);
  // Somebody else may take or free the block first, or join or leave its sharers. Then the CAS
  // fails and this looks again.
  while (const std::uint64_t next = without(dead, BlockWord(seen))) {
    CRASH_POINT("reap.word");
    // acq_rel: pairs with the CAS of whoever changes the word at the same time.
    if (!word.compare_exchange_weak(seen, next, std::memory_order_acq_rel,
                                    std::memory_order_acquire))
      continue;
    seen = next;
    if (!BlockWord(next).is_returning()) break;
    ++result.blocks;
    result.bytes += stride_bytes;
    break;
  }
  // The returned bit of a RETURNING block may have died with the freer.
  const BlockWord now{seen};
  return now.is_returning() &&
         (now.holder().session() == dead.session || now.holder().session() == kReaperSession);
}

void Reaper::reap_run(SlabIndex slab, const RunShape& shape, const Dead& dead, ReapResult& result) {
  const std::uint32_t carved =
      std::min(arena_.control().slab(slab).carved.load(std::memory_order_acquire), shape.capacity);
  for (std::uint32_t first = 0; first < carved; first += 64) {
    std::uint64_t bits = 0;
    for (std::uint32_t b = first; b < std::min(first + 64, carved); ++b)
      if (reap_block(Slot::of(slab, {b}), shape.stride_bytes, dead, result)) {
        bits |= std::uint64_t{1} << (b - first);
        ++result.announced;
      }
    if (bits != 0) arena_.publish_returned(Slot::of(slab, {first}).value >> 6, bits, true);
  }
  // A freer that skipped a level relied on whoever set that level's bit, perhaps on the dead.
  arena_.announce(slab, shape.capacity);
}

ReapResult Reaper::reap(SessionId session, const Footprint* footprint) {
  ReapResult result;
  const Dead dead{session, arena_.sharer_bits(session)};
  arena_.for_each_run([&](SlabIndex slab, RunRecord) {
    if (footprint != nullptr && !footprint->has(slab)) return;
    reap_run(slab, arena_.run_at(slab), dead, result);
  });
  arena_.raise_summaries();
  return result;
}

void Reaper::announce_leases() {
  arena_.for_each_run([&](SlabIndex slab, RunRecord run) {
    if (run.owner().lessee() == kNoSession) return;
    const std::uint32_t capacity = arena_.run_at(slab).capacity;
    for (std::uint32_t first = 0; first < capacity; first += 64) {
      std::uint64_t bits = 0;
      for (std::uint32_t b = first; b < std::min(first + 64, capacity); ++b) {
        const BlockWord word{arena_.word(Slot::of(slab, {b})).load(std::memory_order_acquire)};
        if (word.is_returning()) bits |= std::uint64_t{1} << (b - first);
      }
      if (bits != 0) arena_.publish_returned(Slot::of(slab, {first}).value >> 6, bits, true);
    }
    arena_.announce(slab, capacity);
  });
  arena_.raise_summaries();
}

}  // namespace arenad
