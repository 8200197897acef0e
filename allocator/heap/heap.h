// Heap: the object that owns slabs and allocates from them. One per shard and arena, or one per
// peer thread.
//
// Purpose: FastHeap has the two fast paths. Heap answers their slow exits, adds the checked and
// batched calls that a server needs, and wires the parts:
//   SlabTable      which slabs and spans this heap has (slab_table.h)
//   Refiller       fills an empty magazine: drain, splice, carve, new slab (refill.h)
//   BlockTransfer  splice, carve, flush: between slabs and magazines (block_transfer.h)
//   Freer          every free that is not a fast one; refuses bad refs (freer.h)
//   RemoteFrees    gathers and publishes frees of other heaps' blocks (remote_frees.h)
//   Drainer        takes back what other heaps freed (drainer.h)
//   BlockDebug     what debug flags look for in blocks (arena/block_debug.h)
//   PayloadWipe    zeros in payloads that go out or come home (payload_wipe.h)
//   Adopter        takes over runs of heaps that work no more (adopter.h)
// Invariants: per slab, held + shared + returning + cached + free + uncarved == capacity. A block
// in a magazine or in a slab's free bitmap has a FREE word and is in exactly one of the two.
// Words may be forged. So where a block is follows from private memory. A word decides only what
// may be done with a block that is away (slab.h). A heap that serves other processes knows of each
// block whether it is away.
// Threads: one thread at a time owns a heap. Every call is the owner's, unless it says otherwise.
// Other threads reach the heap's slabs only through block words and returned bitmaps.
// Crash: everything private is a hint; recovery makes it anew from the words. A kill between a
// free's CAS and its returned bit leaves RETURNING, which the reaper announces again.
// Lifetime: a heap must outlive the blocks of its slabs. Destroying it neither frees nor adopts
// them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "../arena/arena_view.h"
#include "../arena/block_debug.h"
#include "../base/export.h"
#include "../format/ref_layout.h"
#include "block_transfer.h"
#include "class_usage.h"
#include "counters.h"
#include "drainer.h"
#include "fast_heap.h"
#include "freer.h"
#include "payload_wipe.h"
#include "refill.h"
#include "remote_frees.h"
#include "row_tables.h"
#include "slab_table.h"

namespace arenad {

class Arena;
class SlabSource;
struct ReapResult;

class ARENAD_API Heap : public FastHeap {
 public:
  // A heap that takes its runs from the arena itself. `id` is below the arena's max_heaps and not
  // in use. `owner` is the session that owns the heap; for a shard, the daemon's own.
  Heap(Arena& arena, HeapId id, SessionId owner, HeapUse use = HeapUse::kOwnProcess);
  // A heap that takes its runs from somewhere else: a peer's leases.
  Heap(ArenaView& arena, HeapId id, SessionId owner, SlabSource& source);

  // --- checked and batched calls (allocate and free: FastHeap)
  // As allocate, with an alignment: 0 or a power of two up to 4096. Errors also: kInvalidAlignment.
  Result<Allocation> allocate_aligned(std::uint64_t size, std::uint32_t align, Holder holder);
  // Allocates out.size() blocks, all or nothing. Errors as allocate_aligned.
  Error allocate_batch(std::uint64_t size, std::uint32_t align, Holder holder,
                       std::span<Allocation> out);
  // Frees whatever the wire brought. `freer` is recorded in the RETURNING word. A `required_holder`
  // other than kNoSession demands that this session holds the block. Errors: kForeignRef,
  // kDoubleFree, kStaleRef, kNotHolder.
  FreeOutcome free_checked(UntrustedRef ref, SessionId freer, SessionId required_holder) {
    return freer_.free_checked(ref, freer, required_holder);
  }
  // Gives up `session`'s share of a block. The last sharer frees it. Errors: kForeignRef,
  // kDoubleFree, kStaleRef, kNotHolder (the session has no share).
  Error release(UntrustedRef ref, SessionId session) { return freer_.release(ref, session); }

  // --- recovery
  // Takes over a run of a heap that works no more: see Adopter::adopt. Only the arena's owner can;
  // `arena` is the one that this heap is of.
  void adopt(Arena& arena, SlabIndex first, SessionId dead, ReapResult& result,
             PaidBy paid_by = {});

  // --- who pays. Only in a heap that serves others. A block is paid for by the session that it was
  // allocated for, until one of these calls says otherwise, or until the block comes home
  // `session` pays for the block. False when the session does not hold it under this ref any more,
  // or the block is not this heap's; then nothing changes.
  bool change_payer(Ref ref, SessionId session);
  // `to` pays for the blocks of the slab that `from` pays for.
  void move_payments(SlabIndex first, SessionId from, SessionId to);
  // Nobody pays any more: the arena is deleted.
  void forgive_payments() { slabs_.forgive_payments(); }
  Payments& payments() { return slabs_.payments(); }

  // --- housekeeping
  // Publishes all gathered remote frees. Call it at the end of a batch and before going idle.
  void publish() { remote_frees_.publish(); }
  bool has_unpublished() const { return !remote_frees_.empty(); }
  // Takes back what other heaps freed, as far as it was announced. Returns blocks. Cheap when there
  // is nothing.
  std::uint64_t drain() { return drainer_.drain(); }
  // Whether a drain would find something. Any thread.
  bool has_pending() const { return drainer_.has_pending(); }
  // Gives back everything that can be given back now: publishes, looks at all returned words
  // (announced or not), flushes the magazines and releases empty slabs. Returns released bytes.
  std::uint64_t trim();
  // The same for classes that were not used since the call before: for the idle timer. Costs
  // nothing in a heap without slabs, and otherwise a look at the returned words of its slabs.
  std::uint64_t idle_tick();
  // `f` is called when the heap has got a slab or span and had none before: idle ticks matter from
  // here on, until the heap has none again. Inside a call of the owner; f must not call the heap.
  void when_first_slab_comes(std::function<void()> f) { slabs_.when_first_comes(std::move(f)); }

  // --- facts
  HeapId id() const { return id_; }
  ArenaView& arena() const { return arena_; }
  HeapCounters counters() const;
  // Blocks of heap h freed by this one, by h's id.
  const std::vector<std::uint64_t>& remote_frees_to() const { return remote_frees_.by_owner(); }
  std::vector<ClassUsage> usage() const;
  const SlabTable& slabs() const { return slabs_; }
  // Calls f(Slot) for each block in a magazine.
  template <class F>
  void for_each_cached(F&& f) const {
    for (const Magazine& m : magazines_)
      m.for_each([&f](std::uint64_t entry) { f(RefLayout::slot_of_entry(entry)); });
  }

 private:
  friend class FastHeap;  // its slow exits call the private functions
  Heap(ArenaView& arena, HeapId id, SessionId owner, SlabSource& source, HeapUse use,
       std::unique_ptr<RowTables> rows);
  void set_up_magazines();

  Result<Allocation> pop_or_refill(Magazine& m, Holder holder) {
    return m.top == m.bottom ? refill_and_pop(m, holder) : pop(m, holder);
  }
  Result<Allocation> refill_and_pop(Magazine& m, Holder holder);
  Result<Allocation> allocate_any(ClassId cls, std::uint64_t size, std::uint32_t align,
                                  Holder holder);
  Result<Allocation> allocate_span(std::uint64_t size, std::uint32_t align, Holder holder);
  Result<Allocation> damaged_word(std::uint64_t entry);
  // What debug flags want to see of a block that goes out to `holder`. False: it must not go.
  bool look_at_outgoing(SlabState& slab, const Allocation& block, Holder holder) const;
  void look_at_leaving(const SlabState& slab) const;
  bool is_in_its_slab(const SlabState* slab, std::uint64_t entry, const Allocation& block) const;

  ArenaView& arena_;
  const Geometry& geometry_;
  const std::unique_ptr<RowTables> rows_;  // FastHeap points into it
  const HeapId id_;
  const HeapUse use_;
  // All but allocs and local_frees: these follow from the magazines, the spans and the freer.
  HeapCounters counters_;
  const BlockDebug debug_;
  const PayloadWipe wipe_;
  // Allocations only pop: nothing is noted privately, and nothing is written into payloads.
  const bool only_pops_;
  SlabTable slabs_;
  BlockTransfer transfer_;
  RemoteFrees remote_frees_;
  Freer freer_;
  Drainer drainer_;
  Refiller refiller_;
};

}  // namespace arenad
