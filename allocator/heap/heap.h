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
#include <span>
#include <vector>

#include "allocator/arena/arena.h"
#include "allocator/base/crash_point.h"
#include "allocator/base/zeroed_array.h"
#include "allocator/check/verify.h"
#include "allocator/heap/counters.h"
#include "allocator/heap/gather.h"
#include "allocator/heap/guards.h"
#include "allocator/heap/magazine.h"
#include "allocator/heap/slab.h"

namespace arenad {

// One allocated block.
struct Block {
  Ref ref;
  std::uint64_t offset = 0;  // of the payload in the data file, bytes
};

// A block or an error in two registers: a ref is never 0 (arena ids start at 1), and an error needs
// no offset.
template <>
class [[nodiscard]] Result<Block, Error> {
 public:
  constexpr Result(Block block) : block_(block) {}  // NOLINT: implicit by design
  constexpr Result(Error error)
      : block_{Ref{0}, static_cast<std::uint64_t>(error)} {}  // NOLINT: implicit by design
  constexpr bool ok() const { return block_.ref.value != 0; }
  constexpr explicit operator bool() const { return ok(); }
  constexpr const Block& value() const { return block_; }
  constexpr const Block& operator*() const { return block_; }
  constexpr const Block* operator->() const { return &block_; }
  constexpr Error error() const { return static_cast<Error>(block_.offset); }

 private:
  Block block_;
};

// Result of a checked free.
struct FreeOutcome {
  Error error = Error::kNone;
  std::uint64_t stride_bytes = 0;  // of the freed block (spans: units * 64 KiB)
  Holder holder;                   // who held it
  HeapId owner = kNoHeap;          // the slab's heap; this heap's own id for a local free
  bool canary_damaged = false;     // the block was freed; its surroundings had been overwritten
};

class Heap {
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
  // Allocates one block of at least `size` bytes (1 .. the arena's capacity), naturally aligned to
  // 16 (8-byte class: 8). Errors: kInvalidSize, kArenaFull, kMachineFull, kQuarantined.
  Result<Block> allocate(std::uint64_t size, Holder holder) {
    const std::uint64_t step =
        (size + 7) / 8;  // 0, as of size 0, of the seven sizes that are too large for the sum
    if (step > kSmallSteps) [[unlikely]]
      return allocate_aligned(size, 0, holder);
    Magazine& m = magazine_at(magazine_of_small_[step]);
    if (m.top == m.bottom) [[unlikely]]
      return allocate_small_slow(m, size, holder);
    return pop_top(m, holder);
  }

  // Frees a block by a ref this process got from an allocation or a validated message. Frees of
  // other heaps' blocks are gathered; publish() sends the last of them. Errors: kForeignRef,
  // kDoubleFree, kStaleRef.
  Error free(Ref ref);

  // --- checked and batched calls (what a server needs)
  // ------------------------------------------------------------------ As allocate, with alignment:
  // 0 or a power of two up to 4096. Errors also: kInvalidAlignment.
  Result<Block> allocate_aligned(std::uint64_t size, std::uint32_t align, Holder holder);
  // Allocates out.size() blocks, all or nothing. Errors as allocate_aligned.
  Error allocate_batch(std::uint64_t size, std::uint32_t align, Holder holder,
                       std::span<Block> out);
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
  // Checks all slabs of this heap and adds to the report. Exact only while nobody else works in the
  // arena.
  void verify(VerifyReport& report) const;

 private:
  friend class HeapVerifier;
  static constexpr std::uint64_t kSmallSteps = 1024 / 8;
  Result<Block> pop_top(Magazine& m, Holder holder);  // of one that has something; no canaries
  Result<Block> pop(Magazine& m, Holder holder) {
    return m.top == m.bottom ? pop_slow(m, holder) : pop_top(m, holder);
  }
  Result<Block> allocate_small_slow(Magazine& m, std::uint64_t size, Holder holder);
  Result<Block> pop_slow(Magazine& m, Holder holder);
  Result<Block> allocate_any(std::uint32_t cls, std::uint64_t size, std::uint32_t align,
                             Holder holder);
  Result<Block> allocate_span_slow(std::uint64_t size, std::uint32_t align, Holder holder);
  Result<Block> damaged_word_slow(std::uint64_t entry);
  Error free_slow(Ref ref);
  // In a peer: before a word of another heap's slab is changed. Once a slab: touched_ remembers it.
  void touch(SlabIndex slab) {
    if (!arena_.attached() || touched_[slab.value] != 0) return;
    arena_.touch(slab);
    touched_[slab.value] = 1;
  }
  void settle_remote(Slot slot);  // after the CAS of a free: the rest of it
  void settle_local(Ref ref, SlabState& slab);
  void make_room_slow(Magazine& m);

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

  // A row is 64 blocks of a slab that share a returned word. What the fast paths want to know of
  // the rows of my slabs:
  // * row_offsets_: what a block's entry * stride lacks to its payload offset, modulo 2^64;
  // * row_magazines_: where their magazine is in magazines_, bytes. 0 of a row whose blocks are not
  // freed the simple way: spans,
  //   canaries, nobody's or another heap's slab.
  void set_rows(const SlabState& slab, std::uint64_t magazine, std::uint32_t stride);
  Magazine& magazine_at(std::uint64_t bytes) {
    return *reinterpret_cast<Magazine*>(reinterpret_cast<std::byte*>(magazines_.data()) + bytes);
  }
  // Payload offset of a magazine entry (arena | slot), which is of one of my slabs.
  std::uint64_t offset_of(std::uint64_t entry, std::uint32_t stride) const {
    return *reinterpret_cast<const std::uint64_t*>(row_offsets_bias_ +
                                                   (entry >> 6) * sizeof(std::uint64_t)) +
           entry * stride;
  }
  // The word of a magazine entry; the bias takes the arena's bits out again.
  AtomicWord& word_of(std::uint64_t entry) const {
    return *reinterpret_cast<AtomicWord*>(words_bias_ + entry * sizeof(AtomicWord));
  }
  SlabView view_of(const SlabState& slab) const;
  template <class F>
  void for_each_slab(F&& f) const {
    for (std::uint32_t s = 0; s < arena_.superslab_count(); ++s)
      for (std::uint32_t units = my_units_[s]; units != 0; units &= units - 1)
        f(*slabs_[s * kUnitsPerSuperslab + static_cast<std::uint32_t>(std::countr_zero(units))]);
  }

  Arena& arena_;
  SlabSource& source_;
  const Geometry& geometry_;
  AtomicWord* const words_;
  const std::uintptr_t words_bias_;           // words_ less the arena's bits: see word_of
  ZeroedArray<std::uint64_t> row_offsets_;    // by slot / 64
  const std::uintptr_t row_offsets_bias_;     // row_offsets_ less the arena's bits
  ZeroedArray<std::uint16_t> row_magazines_;  // by slot / 64
  const std::uint64_t arena_bits_;            // the arena's field of a ref
  const std::uint64_t slot_limit_;            // slots of the arena
  const std::uint32_t header_bytes_;
  const bool canaries_;
  const HeapId id_;
  const SessionId owner_;
  // By slab unit, zero pages until used: 1 of others' slabs whose touched bit a peer has set; and
  // the states of all my slabs.
  ZeroedArray<std::uint8_t> touched_;
  ZeroedArray<SlabState*> slabs_;
  ZeroedArray<std::uint32_t> my_units_;  // by superslab: units at which my slabs start
  std::array<std::uint16_t, kSmallSteps + 1>
      magazine_of_small_;  // where in magazines_, in bytes, by size / 8 rounded up
  std::array<Magazine, kMaxClasses + 1>
      magazines_;  // by class + 1; the first, always empty, leads where the slow way goes
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

inline Result<Block> Heap::pop_top(Magazine& m, Holder holder) {
  const std::uint64_t entry = *--m.top;
  AtomicWord& word = word_of(entry);
  const std::uint64_t free_bits = word.load(std::memory_order_relaxed);
  if (!BlockWord(free_bits).is_free()) [[unlikely]]
    return damaged_word_slow(entry);
  CRASH_POINT("allocate.word");
  // FREE -> HELD. release: pairs with the acquire of whoever describes, takes over or reaps the
  // block. Only this heap may touch a FREE word, so a plain store is enough; killed before it, the
  // block is FREE and in nobody's hand.
  word.store(BlockWord::held(free_bits, holder), std::memory_order_release);
  const Ref ref{free_bits << 2 | entry};
  if (ref.value == 0)
    __builtin_unreachable();  // an entry has its arena's number in it: spares callers their test of
                              // ok()
  return Block{ref, offset_of(entry, m.stride)};
}

inline Error Heap::free(Ref ref) {
  const std::uint64_t entry = ref.value & Ref::kBlockMask;
  const Slot slot{entry - arena_bits_};
  if (slot.value >= slot_limit_) [[unlikely]]
    return Error::kForeignRef;
  const std::uint64_t magazine = row_magazines_[slot.value >> 6];
  AtomicWord& word = words_[slot.value];
  const std::uint64_t bits = word.load(std::memory_order_relaxed);
  const std::uint64_t generation = ref.value >> Ref::kGenerationShift;
  const std::uint64_t held_generation =
      bits >> BlockWord::kGenerationShift;  // and the tag above it
  if (magazine == 0 || held_generation != (generation | 0x4000)) [[unlikely]]
    return free_slow(ref);
  CRASH_POINT("free.own_word");
  // HELD -> FREE. A plain store where DESIGN.md has a CAS: see allocator/README.md "The owner's own
  // free" for the argument and the figures. release: pairs with the acquire of a take-over or
  // remote free that finds FREE.
  word.store((held_generation + 1) << (BlockWord::kGenerationShift + 2) >> 2,
             std::memory_order_release);  // the tag falls out
  Magazine& m = magazine_at(magazine);
  std::uint64_t* const top = m.freed_top;
  *top = entry;
  m.freed_top = top + 1;
  if (top + 1 == m.freed_limit) [[unlikely]]
    make_room_slow(m);
  return Error::kNone;
}

}  // namespace arenad
