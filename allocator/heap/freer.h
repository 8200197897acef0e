// Freer: every free that is not a fast one, and every refusal of a free.
//
// Purpose: frees of other heaps' blocks, spans, blocks of arenas with debug flags, refs from the
// wire, and the last share of a shared block. The fast path (FastHeap::free) comes here when its
// exact check fails.
// Invariants: the one CAS from the exact word decides. A ref whose tag or generation differs is
// refused, so a second free of a ref and a free of an old ref are errors. A block of this heap that
// is not away (slab.h) is not freed whatever its word says.
// Threads: the heap's owner; any number of other threads change the same words.
// Crash: a kill after the CAS and before the returned bit leaves RETURNING. The reaper announces it
// again. In this heap's own slab a kill leaves FREE, and the block is found by the words.
#pragma once

#include <cstdint>
#include <span>

#include "../arena/block_debug.h"
#include "../arena/footprint_marker.h"
#include "../base/error.h"
#include "../base/export.h"
#include "../base/zeroed_array.h"
#include "../format/block_word.h"
#include "../format/ids.h"
#include "../format/ref_layout.h"
#include "block_transfer.h"
#include "counters.h"
#include "magazine.h"
#include "payload_wipe.h"
#include "remote_frees.h"
#include "slab.h"
#include "slab_table.h"

namespace arenad {

class ArenaView;

// Result of a checked free.
struct FreeOutcome {
  Error error = Error::kNone;
  std::uint64_t stride_bytes = 0;  // of the freed block; of a span: units * 64 KiB
  Holder holder;                   // who held it
  HeapId owner = kNoHeap;          // the slab's heap; this heap's own id for a local free
};

class ARENAD_API Freer {
 public:
  // `owner` is the session of the heap `id`. `magazines` are the heap's, by class.
  Freer(ArenaView& arena, HeapId id, SessionId owner, SlabTable& slabs,
        std::span<Magazine> magazines, BlockTransfer& transfer, RemoteFrees& remote_frees,
        HeapCounters& counters);

  // As FastHeap::free, for a ref whose slot is one of the arena's.
  Error free(Ref ref);
  // As Heap::free_checked.
  FreeOutcome free_checked(UntrustedRef ref, SessionId freer, SessionId required_holder);
  // As Heap::release.
  Error release(UntrustedRef ref, SessionId session);

  std::uint64_t span_frees() const { return span_frees_; }

 private:
  // Why a block of this heap's slab cannot be freed whatever its word will say; kNone when it can.
  // `by` frees or releases it.
  Error local_refusal(Ref ref, const SlabState& slab, SessionId required_holder, SessionId by);
  // Returns the word that was replaced; 0 when the ref is refused.
  std::uint64_t free_own(AtomicWord& word, std::uint32_t generation, const SlabState& slab);
  // What debug flags want to see of a free. In a slab of this heap after the CAS. In another heap's
  // slab before the CAS: after it the slab may start another life, and nothing may be written
  // there. If somebody takes the block over in between, its track tells of a free that was refused.
  void look_at_freed(Ref ref, const SlabState& mine, std::uint64_t replaced, SessionId by);
  void look_at_returning(Ref ref, SessionId required_holder, SessionId by);
  // Why a free or a release of `by` is refused, by the block's word. Reports it where F is on.
  Error refused(Ref ref, SessionId required_holder, SessionId by) const;
  // The word of a block at home says that somebody has the block. Quarantines.
  Error forged_word(Slot slot, const SlabState& slab);
  // The rest of a free, after its CAS.
  void settle_local(Slot slot, SlabState& slab);
  void settle_remote(Slot slot);
  // Before a word of another heap's slab is changed: the slab is in the session's footprint from
  // now on. footprint_noted_ remembers it, so shared memory is written once for each slab.
  void note_footprint(SlabIndex slab);

  ArenaView& arena_;
  AtomicWord* const words_;  // by slot
  const HeapId id_;
  const SessionId owner_;
  SlabTable& slabs_;
  const std::span<Magazine> magazines_;
  BlockTransfer& transfer_;
  RemoteFrees& remote_frees_;
  HeapCounters& counters_;
  const BlockDebug debug_;
  const PayloadWipe wipe_;
  const RefLayout refs_;
  const FootprintMarker footprint_;            // empty in the arena's owner
  ZeroedArray<std::uint8_t> footprint_noted_;  // by slab unit; costs no memory where it is 0
  std::uint64_t span_frees_ = 0;
};

}  // namespace arenad
