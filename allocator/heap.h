// Heap: what allocates. One per shard and arena, or one per thread.
//
// Purpose: magazines of block slots per class in front of slabs; the fast paths are here, everything else leaves through
//   one visible *_slow. Where: refill.cc (drain, splice, carve, new slab), drain.cc, heap_free.cc, span.cc, heap.cc.
// Invariants: a slot in a magazine or in a slab's free bitmap has a FREE word, and is in exactly one of the two.
//   held + shared + returning + cached + free + uncarved == capacity, per slab.
// Threads: one thread at a time owns a heap; every call is the owner's. Other threads reach its slabs only through block
//   words and returned bitmaps.
// Crash: everything private is a hint; recovery rebuilds it from the words. A kill between the pop and the store of HELD
//   leaves a FREE block; between a free's CAS and its returned bit leaves RETURNING, which reap announces again.
// Lifetime: a heap must outlive the blocks of its slabs; destroying it neither frees nor adopts them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "allocator/arena.h"
#include "allocator/counters.h"
#include "allocator/gather.h"
#include "allocator/magazine.h"
#include "allocator/slab.h"
#include "allocator/verify.h"

namespace arenad {

// One allocated block.
struct Block {
  Ref ref;
  std::uint64_t offset = 0;   // of the payload in the data file, bytes
};

// Result of a checked free.
struct FreeOutcome {
  Error error = Error::kNone;
  std::uint64_t stride_bytes = 0;   // of the freed block (spans: units * 64 KiB)
  Holder holder;                    // who held it
  HeapId owner = kNoHeap;           // the slab's heap; this heap's own id for a local free
  bool canary_damaged = false;      // the block was freed; its surroundings had been overwritten
};

class Heap {
 public:
  // `id` below the arena's max_heaps and not in use; `owner` is the session that owns the heap (the daemon: its own).
  Heap(Arena& arena, HeapId id, SessionId owner);
  ~Heap();
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  // --- fast paths -----------------------------------------------------------------------------------------------------
  // Allocates one block of at least `size` bytes (1 .. the arena's capacity), naturally aligned to 16 (8-byte class: 8).
  // Errors: kInvalidSize, kArenaFull, kMachineFull, kQuarantined.
  Result<Block> allocate(std::uint64_t size, Holder holder) {
    if (size - 1 >= class_limit_) [[unlikely]] return allocate_span_slow(size, 0, holder);
    return allocate_class(arena_.geometry().class_of(size), holder);
  }
  Result<Block> allocate_class(std::uint32_t cls, Holder holder);

  // Frees a block by a ref this process got from an allocation or a validated message. Frees of other heaps' blocks are
  // gathered; publish() sends the last of them. Errors: kForeignRef, kDoubleFree, kStaleRef.
  Error free(Ref ref);

  // --- checked and batched calls (what a server needs) ------------------------------------------------------------------
  // As allocate, with alignment: 0 or a power of two up to 4096. Errors also: kInvalidAlignment.
  Result<Block> allocate_aligned(std::uint64_t size, std::uint32_t align, Holder holder);
  // Allocates out.size() blocks, all or nothing. Errors as allocate_aligned.
  Error allocate_batch(std::uint64_t size, std::uint32_t align, Holder holder, std::span<Block> out);
  // Frees whatever the wire brought. `freer` is recorded in RETURNING words; `required_holder` != kNoSession demands that
  // the block's holder is that session. Errors: kForeignRef, kDoubleFree, kStaleRef, kNotHolder.
  FreeOutcome free_checked(UntrustedRef ref, SessionId freer, SessionId required_holder);

  // --- housekeeping -----------------------------------------------------------------------------------------------------
  // Publishes all gathered remote frees. Call at the end of a batch and before going idle.
  void publish();
  bool has_unpublished() const { return !gather_.empty(); }
  // Takes back what other heaps freed, as far as it was announced. Returns blocks. Cheap when there is nothing.
  std::uint64_t drain();
  // True when a drain would find something.
  bool has_pending() const;
  // Everything that can be given back now: publishes, looks at all returned words (pending or not), flushes magazines,
  // releases empty slabs to the arena. Returns released bytes.
  std::uint64_t trim();
  // trim without touching what was used since the call before: for the idle timer.
  std::uint64_t idle_tick();

  // --- facts ------------------------------------------------------------------------------------------------------------
  HeapId id() const { return id_; }
  Arena& arena() const { return arena_; }
  HeapCounters counters() const;
  // Blocks of heap h freed by this one, by h's id.
  const std::vector<std::uint64_t>& remote_frees_to() const { return remote_frees_to_; }
  std::vector<ClassUsage> usage() const;
  // Calls f(SlabIndex, cls, stride_bytes, BlockWord) for each block of this heap that is held, shared or returning.
  void for_each_block_out(const std::function<void(SlabIndex, std::uint32_t, std::uint64_t, BlockWord)>& f) const;
  // Checks all slabs of this heap and adds to the report. Exact only while nobody else works in the arena.
  void verify(VerifyReport& report) const;

 private:
  friend class HeapVerifier;
  Result<Block> allocate_class_slow(std::uint32_t cls, Holder holder);
  Result<Block> allocate_span_slow(std::uint64_t size, std::uint32_t align, Holder holder);
  Result<Block> take_slot(std::uint32_t cls, std::uint64_t entry, Holder holder);
  Error free_slow(Ref ref);
  Error free_remote(Ref ref);
  void push_slow(std::uint32_t cls, std::uint64_t entry);

  Arena& arena_;
  AtomicWord* words_;
  std::uint64_t class_limit_;
  HeapId id_;
  SessionId owner_;
  std::vector<std::uint64_t> remote_frees_to_;
  RemoteGather gather_;
};

}  // namespace arenad
