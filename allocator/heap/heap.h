// Heap: what allocates. One per shard and arena, or one per thread.
//
// Purpose: magazines of block slots per class in front of slabs; the fast paths are here,
// everything else leaves through
//   one visible *_slow. Where: refill.cc (drain, splice, carve), slab_life.cc (new slab, flush,
//   release), drain.cc, free.cc, adopt.cc, span.cc, canary.cc, heap.cc.
// Invariants: a slot in a magazine or in a slab's free bitmap has a FREE word, and is in exactly
// one of the two.
//   held + shared + returning + cached + free + uncarved == capacity, per slab.
// Threads: one thread at a time owns a heap; every call is the owner's. Other threads reach its
// slabs only through block
//   words and returned bitmaps.
// Crash: everything private is a hint; recovery rebuilds it from the words. A kill between the pop
// and the store of HELD
//   leaves a FREE block; between a free's CAS and its returned bit leaves RETURNING, which reap
//   announces again.
// Invariant of the magazines' storage: allocated at a class's first slab, so a row that names a
// magazine has entries to push to. Lifetime: a heap must outlive the blocks of its slabs;
// destroying it neither frees nor adopts them.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "allocator/arena/arena.h"
#include "allocator/base/zeroed_array.h"
#include "allocator/check/verify.h"
#include "allocator/heap/counters.h"
#include "allocator/heap/fast_heap.h"
#include "allocator/heap/gather.h"
#include "allocator/heap/guards.h"
#include "allocator/heap/row_tables.h"
#include "allocator/heap/slab.h"

namespace arenad {

using Allocation = Allocation;

// Result of a checked free.
struct FreeOutcome {
  Error error = Error::kNone;
  std::uint64_t stride_bytes = 0;  // of the freed block (spans: units * 64 KiB)
  Holder holder;                   // who held it
  HeapId owner = kNoHeap;          // the slab's heap; this heap's own id for a local free
  bool canary_damaged = false;     // the block was freed; its surroundings had been overwritten
};

class Heap : public FastHeap {
 public:
  // `id` below the arena's max_heaps and not in use; `owner` is the session that owns the heap (the
  // daemon: its own).
  Heap(Arena& arena, HeapId id, SessionId owner) : Heap(arena, id, owner, arena.source()) {}
  // With slabs from somewhere else than the arena itself: a peer's leases.
  Heap(Arena& arena, HeapId id, SessionId owner, SlabSource& source);
  ~Heap();
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  // --- fast paths
  // -----------------------------------------------------------------------------------------------------
  // allocate and free: FastHeap.

  // --- checked and batched calls (what a server needs)
  // ------------------------------------------------------------------ As allocate, with alignment:
  // 0 or a power of two up to 4096. Errors also: kInvalidAlignment.
  Result<Allocation> allocate_aligned(std::uint64_t size, std::uint32_t align, Holder holder);
  // Allocates out.size() blocks, all or nothing. Errors as allocate_aligned.
  Error allocate_batch(std::uint64_t size, std::uint32_t align, Holder holder,
                       std::span<Allocation> out);
  // Frees whatever the wire brought. `freer` is recorded in RETURNING words; `required_holder` !=
  // kNoSession demands that the block's holder is that session. Errors: kForeignRef, kDoubleFree,
  // kStaleRef, kNotHolder.
  FreeOutcome free_checked(UntrustedRef ref, SessionId freer, SessionId required_holder);

  // Gives up `session`'s share of a block; the last one frees it. Errors: kForeignRef, kDoubleFree,
  // kStaleRef, kNotHolder (no sharer of it).
  Error release(UntrustedRef ref, SessionId session);

  // --- recovery
  // ---------------------------------------------------------------------------------------------------------
  // Takes over a run of a heap that works no more (in the arena's own process only): FREE and
  // RETURNING blocks, what `dead` held and what it alone shared; what others hold stays out. A run
  // of which nothing is out goes back to the arena at once.
  void adopt(SlabIndex first, SessionId dead, ReapResult& result);

  // --- housekeeping
  // -----------------------------------------------------------------------------------------------------
  // Publishes all gathered remote frees. Call at the end of a batch and before going idle.
  void publish();
  bool has_unpublished() const { return !gather_.empty(); }
  // Takes back what other heaps freed, as far as it was announced. Returns blocks. Cheap when there
  // is nothing.
  std::uint64_t drain();
  // True when a drain would find something.
  bool has_pending() const;
  // Everything that can be given back now: publishes, looks at all returned words (pending or not),
  // flushes magazines, releases empty slabs to the arena. Returns released bytes.
  std::uint64_t trim();
  // trim without touching what was used since the call before: for the idle timer.
  std::uint64_t idle_tick();

  // --- facts
  // ------------------------------------------------------------------------------------------------------------
  HeapId id() const { return id_; }
  Arena& arena() const { return arena_; }
  HeapCounters counters() const;
  // Blocks of heap h freed by this one, by h's id.
  const std::vector<std::uint64_t>& remote_frees_to() const { return remote_frees_to_; }
  std::vector<ClassUsage> usage() const;
  // Calls f(SlabIndex, cls, stride_bytes, BlockWord) for each block of this heap that is held,
  // shared or returning.
  void for_each_block_out(
      const std::function<void(SlabIndex, std::uint32_t, std::uint64_t, BlockWord)>& f) const;
  // The private state, for checks. Like all facts these are the owner's to ask for.
  // Calls f(const SlabState&) for each slab and span of this heap.
  template <class F>
  void for_each_slab(F&& f) const {
    for (std::uint32_t s = 0; s < arena_.superslab_count(); ++s)
      for (std::uint32_t units = my_units_[s]; units != 0; units &= units - 1)
        f(std::as_const(
            *slabs_[s * kUnitsPerSuperslab + static_cast<std::uint32_t>(std::countr_zero(units))]));
  }
  // This heap's slab or span that starts at `first`; null when there is none.
  const SlabState* slab(SlabIndex first) const { return slabs_[first.value]; }
  // Calls f(Slot) for each block in a magazine.
  template <class F>
  void for_each_cached(F&& f) const {
    for (const Magazine& m : magazines_)
      m.for_each([&f](std::uint64_t entry) { f(Slot{entry & Ref::kSlotMask}); });
  }
  // Blocks of slabs (not spans) that are out of their slab, as the refills and frees counted them.
  std::uint64_t active_blocks() const { return active_blocks_; }
  // Checks all slabs of this heap and adds to the report. Exact only while nobody else works in the
  // arena.
  void verify(VerifyReport& report) const;

 private:
  // The slabs themselves, so that the caller may give some back.
  std::vector<SlabState*> all_slabs();
  friend class FastHeap;  // its slow exits come here
  Heap(Arena& arena, HeapId id, SessionId owner, SlabSource& source,
       std::unique_ptr<RowTables> rows);
  Result<Allocation> pop_or_refill(Magazine& m, Holder holder) {
    return m.top == m.bottom ? pop_slow(m, holder) : pop(m, holder);
  }
  Result<Allocation> pop_slow(Magazine& m, Holder holder);
  Result<Allocation> allocate_any(std::uint32_t cls, std::uint64_t size, std::uint32_t align,
                                  Holder holder);
  Result<Allocation> allocate_span_slow(std::uint64_t size, std::uint32_t align, Holder holder);
  Error free_any(Ref ref);
  Result<Allocation> damaged_word(std::uint64_t entry);
  // In a peer: before a word of another heap's slab is changed. Once a slab: touched_ remembers it.
  void touch(SlabIndex slab) {
    if (!arena_.attached() || touched_[slab.value] != 0) return;
    arena_.touch(slab);
    touched_[slab.value] = 1;
  }
  void settle_remote(Slot slot);  // after the CAS of a free: the rest of it
  void settle_local(Ref ref, SlabState& slab);
  void make_room(Magazine& m);

  // refill.cc
  Error refill(std::uint32_t cls);
  Error refill_batch(std::uint32_t cls, Magazine& m);
  Error refill_one(std::uint32_t cls, Magazine& m);
  std::uint32_t take_from(SlabState& slab, Magazine& m, std::uint32_t most);
  std::uint32_t splice(SlabState& slab, Magazine& m, std::uint32_t most);
  std::uint32_t carve(SlabState& slab, Magazine& m, std::uint32_t most);
  void guard_carve(const SlabState& slab, std::uint32_t batch) const;  // private_guards.cc
  void guard_batch(const SlabState& slab, const Magazine& m, std::uint32_t count,
                   bool carved) const;
  void check_refill(std::uint32_t cls, std::uint64_t taken, std::uint64_t delta);
  // slab_life.cc
  Result<SlabState*> new_slab(std::uint32_t cls);
  SlabState* enter_run(SlabIndex first, const RunRequest& run);
  void release_slab(SlabState* slab);
  void gained(SlabState& slab);  // a block came home: lists and empties
  void flush_freed(Magazine& m, std::uint32_t count);
  void flush(Magazine& m);
  std::uint64_t release_empty(std::uint32_t cls);  // drain.cc
  // drain.cc
  std::uint64_t drain_slab(SlabState& slab);
  std::uint64_t drain_everything();
  void publish_entry(const RemoteGather::Entry& entry);
  // canary.cc
  void write_canary(std::uint64_t offset, std::uint64_t usable);
  bool canary_intact(std::uint64_t offset, std::uint64_t usable) const;
  void check_remote_canary(Slot slot);
  std::uint64_t span_usable(const SlabState& s) const {
    return s.units * kSlabUnitBytes - header_bytes_ - geometry_.layout().canary_bytes;
  }

  SlabView view_of(const SlabState& slab) const;
  Arena& arena_;
  SlabSource& source_;
  const Geometry& geometry_;
  const std::unique_ptr<RowTables> rows_;
  const std::uint32_t header_bytes_;
  const bool canaries_;
  const HeapId id_;
  const SessionId owner_;
  // By slab unit, zero pages until used: 1 of others' slabs whose touched bit a peer has set; and
  // the states of all my slabs.
  ZeroedArray<std::uint8_t> touched_;
  ZeroedArray<SlabState*> slabs_;
  ZeroedArray<std::uint32_t> my_units_;  // by superslab: units at which my slabs start
  std::array<SlabList, kMaxClasses> partial_;
  std::array<std::uint32_t, kMaxClasses> empty_slabs_{};  // carved, nothing out
  RemoteGather gather_;
  HeapCounters counters_;  // but allocs, local_frees and flushed_blocks, which the magazines count
  std::uint64_t span_frees_ = 0;
  std::uint64_t flushed_blocks_ = 0;  // over all classes
  std::uint64_t drained_spans_ =
      0;  // part of counters_.drained_blocks; spans are not among active_blocks_
  std::uint64_t active_blocks_ =
      0;  // sum of SlabState::out over slabs (not spans): the predecessor's total_active_blocks
  SuperslabIndex hint_{0};
  std::vector<std::uint64_t> remote_frees_to_;
};

}  // namespace arenad
