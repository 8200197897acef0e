#include "allocator/heap/adopter.h"

#include <algorithm>
#include <bit>
#include <string>

#include "allocator/arena/arena.h"
#include "allocator/arena/block_debug.h"
#include "allocator/arena/session_set.h"
#include "allocator/base/crash_point.h"
#include "allocator/format/ref_layout.h"
#include "allocator/heap/payload_wipe.h"

namespace arenad {
namespace {

// What the adopter makes of a word of the run: FREE, or what it was when somebody else has the
// block.
std::uint64_t settled(SessionId dead, std::uint64_t dead_bits, BlockWord word,
                      GenerationStep step) {
  switch (word.tag()) {
    case BlockTag::kFree: break;
    case BlockTag::kReturning: return BlockWord::free_of(word.bits());
    case BlockTag::kHeld:
      return word.holder().session() == dead ? BlockWord::freed(word.bits(), step) : word.bits();
    case BlockTag::kShared: {
      const std::uint64_t left = word.sharers() & ~dead_bits;
      return left != 0 ? BlockWord::shared(word.bits(), left) : BlockWord::freed(word.bits(), step);
    }
  }
  return BlockWord::free_of(word.bits());
}

}  // namespace

void Adopter::adopt(SlabIndex first, SessionId dead, ReapResult& result, PaidBy paid_by) {
  const RunShape run = arena_.run_at(first);
  if (run.kind == SlabKind::kNone || slabs_.find(first) != nullptr) return;
  become_owner(first, run);

  SlabState& slab = slabs_.enter(first, run);
  find_carved(slab);
  settle_words(slab, dead, paid_by, result);
  // The owner before this heap may have been told of frees that it never took back. They are
  // announced again, to this heap. Bits that stand for nothing are announced too.
  arena_.announce(first, run.capacity);

  ++result.adopted_slabs;
  ++counters_.adopted_slabs;
  counters_.adopted_blocks += slab.out();
  if (!slab.is_span) slabs_.adopted_out(slab.out());
  if (slab.out() == 0) return slabs_.release(slab);
  if (!slab.is_span && slab.has_any()) slabs_.list(slab);
}

void Adopter::become_owner(SlabIndex first, const RunShape& run) {
  const std::uint64_t shape_bits = SlabShape::of(run).bits;
  SlabHeader& h = arena_.control().slab(first);
  if (h.shape.load(std::memory_order_acquire) != shape_bits) {
    // The run was granted and never begun, because the granter died; or the header was scribbled
    // over. The ledger knows what the run is.
    if (h.shape.load(std::memory_order_relaxed) != 0)
      arena_.quarantine([first] {
        return "header of slab " + std::to_string(first.value) + " is not what was leased";
      });
    CRASH_POINT("adopt.shape");
    // release: pairs with the acquire of shape in ArenaView::validate.
    h.shape.store(shape_bits, std::memory_order_release);
  }
  CRASH_POINT("adopt.owner");
  // seq_cst, and before the scan of the words: pairs with the load of owner in
  // ArenaView::publish_returned, which follows the freer's returned bit.
  h.owner.store(id_.value);
  CRASH_POINT("adopt.ledger");
  arena_.ledger().set_run(first, RunRecord::of(run, RunOwner::heap(id_)));
}

// How many blocks of the slab are carved. Blocks beyond that are not out, unless the count was
// scribbled over. Then the count is not believed.
void Adopter::find_carved(SlabState& slab) {
  SlabHeader& h = arena_.control().slab(slab.slab);
  // acquire: pairs with the release of carved in BlockTransfer::carve.
  std::uint32_t carved = std::min(h.carved.load(std::memory_order_acquire), slab.capacity);
  for (std::uint32_t b = slab.capacity; b > carved; --b)
    if (!BlockWord(arena_.word(Slot::of(slab.slab, {b - 1})).load(std::memory_order_acquire))
             .is_free()) {
      arena_.quarantine([&slab, b] {
        return "uncarved block " + std::to_string(b - 1) + " of slab " +
               std::to_string(slab.slab.value) + " is in use";
      });
      carved = b;
    }
  slab.carved = carved;
  if (carved == h.carved.load(std::memory_order_relaxed)) return;
  CRASH_POINT("adopt.carved");
  // release: pairs with the acquire of carved in ArenaView::validate.
  h.carved.store(carved, std::memory_order_release);
}

void Adopter::settle_words(SlabState& slab, SessionId dead, PaidBy paid_by, ReapResult& result) {
  const std::uint64_t dead_bits = dead == kNoSession ? 0 : arena_.sharer_bits(dead);
  const PayloadWipe wipe(arena_);
  const BlockDebug debug(arena_);
  for (std::uint32_t b = 0; b < slab.carved; ++b) {
    AtomicWord& word = arena_.word(Slot::of(slab.slab, {b}));
    std::uint64_t seen = word.load(std::memory_order_acquire), next = 0;
    // A CAS, because whoever has the block's ref may free it, take it over or share it meanwhile.
    // acq_rel: pairs with the CAS of those.
    for (;;) {
      next = settled(dead, dead_bits, BlockWord(seen), arena_.refs().step());
      if (next == seen) break;
      CRASH_POINT("adopt.word");
      if (word.compare_exchange_weak(seen, next, std::memory_order_acq_rel,
                                     std::memory_order_acquire))
        break;
    }
    if (slab.last_holders != nullptr && BlockWord(seen).is_held())
      slab.last_holders[b] = BlockWord(seen).holder();
    if (BlockWord(next).tag() != BlockTag::kFree) {
      slabs_.note_away(slab, {b}, payer_of(BlockWord(next), paid_by));
      continue;
    }
    slab.put_free({b});
    if (debug.on() && (BlockWord(seen).is_held() || BlockWord(seen).is_shared()))
      debug.freed(slab.place_of({b}), BlockWord(seen), kReaperSession);
    // Also what was FREE before: whoever freed it may have died before the wipe.
    if (wipe.at_home())
      wipe.wipe(slab.payload_offset + b * std::uint64_t{slab.stride_bytes}, slab.usable_bytes);
    if (BlockWord(seen).is_held() || BlockWord(seen).is_shared()) {
      ++result.blocks;
      result.bytes += slab.stride_bytes;
    }
    if (BlockWord(seen).tag() == BlockTag::kFree && seen != next)
      arena_.quarantine([&slab, b] {
        return "block " + std::to_string(b) + " of slab " + std::to_string(slab.slab.value) +
               " is FREE with a holder";
      });
  }
}

SessionId Adopter::payer_of(BlockWord word, PaidBy paid_by) const {
  if (paid_by.named_in_words == nullptr) return paid_by.session;
  SessionId named = word.is_held() ? word.holder().session() : kNoSession;
  if (word.is_shared() && word.sharers() != 0) {
    const auto first = static_cast<std::size_t>(std::countr_zero(word.sharers()));
    named = SessionId{static_cast<std::uint16_t>(
        arena_.control().sharers().sessions[first].load(std::memory_order_acquire))};
  }
  return paid_by.named_in_words->contains(named) ? named : paid_by.session;
}

}  // namespace arenad
