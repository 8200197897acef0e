// Counters of one heap: monotonic, written by the owner thread alone.
//
// Purpose: the third of the three counts that Audit compares (allocs - frees), and what operators
// see. Threads: the heap's owner thread reads and writes; others ask it (a shard answers a
// message). Crash: private memory; recovery does not need them.
#pragma once

#include <cstdint>

namespace arenad {

struct HeapCounters {
  std::uint64_t allocs = 0;          // blocks handed out
  std::uint64_t local_frees = 0;     // blocks of this heap freed by this heap
  std::uint64_t remote_frees = 0;    // blocks of other heaps freed by this heap
  std::uint64_t refills = 0;         // magazine refills
  std::uint64_t drains = 0;          // slabs drained
  std::uint64_t drained_blocks = 0;  // blocks of this heap that others freed, taken back
  std::uint64_t adopted_slabs = 0;   // runs of heaps that work no more, taken over
  std::uint64_t adopted_blocks = 0;  // blocks of them that others hold or are returning
  std::uint64_t splices = 0;         // batches from a slab's free bitmap into a magazine
  std::uint64_t spliced_blocks = 0;
  std::uint64_t carves = 0;  // batches of never-used blocks into a magazine
  std::uint64_t carved_blocks = 0;
  std::uint64_t flushed_blocks = 0;  // from a magazine back into free bitmaps
  std::uint64_t new_slabs = 0;
  std::uint64_t released_slabs = 0;       // empty slabs given back to the arena
  std::uint64_t spans = 0;                // span allocations
  std::uint64_t p0_counter_ok = 0;        // refills whose delta agreed
  std::uint64_t p0_counter_mismatch = 0;  // and did not: a bug
  std::uint64_t guard_trips = 0;          // values from shared memory that were refused
  std::uint64_t canary_damaged = 0;       // frees that found a damaged canary

  HeapCounters& operator+=(const HeapCounters& o);
};

// One size class in one heap, at this moment: the columns of /proc/slabinfo.
struct ClassUsage {
  std::uint32_t cls = 0;  // kSpanClass for spans
  std::uint64_t slabs = 0;
  std::uint64_t active_slabs = 0;  // with a block out
  std::uint64_t capacity_blocks = 0;
  std::uint64_t active_blocks = 0;  // carved and not in a free bitmap: held, returning or cached
  std::uint64_t cached_blocks = 0;  // in the magazine
  std::uint64_t free_blocks = 0;    // in free bitmaps
  std::uint64_t uncarved_blocks = 0;
  std::uint64_t slab_bytes = 0;  // sum over slabs
};

}  // namespace arenad
