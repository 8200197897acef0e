// Counters of one heap, from one table.
//
// Purpose: HeapCounters is what operators see of a heap. Audit compares its allocs - frees with two
// other counts. ARENAD_HEAP_COUNTERS is the only list of the counters. The struct, its addition,
// the wire, the metrics, the JSON and the client's struct are made from this table. A test compares
// the table with the message arenad.v1.HeapCounters.
// Invariants: a counter only grows while its heap lives.
// Threads: only the heap's owner thread reads and writes its counters. A shard answers a message to
// tell others. Crash: the counters are private memory. Recovery does not need them.
//
// This header includes nothing of arenad, so that public headers can include it.
#pragma once

#include <array>
#include <cstdint>

#include "../base/export.h"

namespace arenad {

// X(name, help). The order is the order in which programs print the counters. A new counter is one
// row here and one field of arenad.v1.HeapCounters (proto/arenad/v1/admin.proto).
#define ARENAD_HEAP_COUNTERS(X)                                                         \
  X(allocs, "blocks handed out")                                                        \
  X(local_frees, "blocks freed by the heap that owns them")                             \
  X(remote_frees, "blocks of other heaps freed here")                                   \
  X(refills, "magazine refills")                                                        \
  X(drains, "slabs drained of remotely freed blocks")                                   \
  X(drained_blocks, "remotely freed blocks taken back")                                 \
  X(adopted_slabs, "slabs and spans of ended peers taken over")                         \
  X(adopted_blocks, "blocks of adopted slabs that others hold or are returning")        \
  X(splices, "batches of free blocks moved into a magazine")                            \
  X(spliced_blocks, "free blocks moved into a magazine")                                \
  X(carves, "batches of never-used blocks moved into a magazine")                       \
  X(carved_blocks, "never-used blocks moved into a magazine")                           \
  X(flushed_blocks, "blocks moved from a magazine back into their slabs")               \
  X(new_slabs, "slabs taken from the arena")                                            \
  X(released_slabs, "empty slabs given back to the arena")                              \
  X(spans, "span allocations")                                                          \
  X(p0_counter_ok, "refills whose counters agreed")                                     \
  X(p0_counter_mismatch, "refills whose counters did not agree; each of them is a bug") \
  X(guard_trips, "values from shared memory that were refused")

struct ARENAD_API HeapCounters {
#define ARENAD_FIELD(name, help) std::uint64_t name = 0;
  ARENAD_HEAP_COUNTERS(ARENAD_FIELD)
#undef ARENAD_FIELD

  constexpr HeapCounters& operator+=(const HeapCounters& other);
  friend constexpr bool operator==(const HeapCounters&, const HeapCounters&) = default;
};

// One row of the table. `help` is one line without a full stop.
struct HeapCounterRow {
  const char* name;
  const char* help;
  std::uint64_t HeapCounters::*value;
};

// All counters, to iterate over: for (const HeapCounterRow& row : kHeapCounterRows) ...
inline constexpr auto kHeapCounterRows = std::to_array<HeapCounterRow>({
#define ARENAD_ROW(name, help) {#name, help, &HeapCounters::name},
    ARENAD_HEAP_COUNTERS(ARENAD_ROW)
#undef ARENAD_ROW
});
static_assert(kHeapCounterRows.size() * sizeof(std::uint64_t) == sizeof(HeapCounters));

constexpr HeapCounters& HeapCounters::operator+=(const HeapCounters& other) {
  for (const HeapCounterRow& row : kHeapCounterRows) this->*row.value += other.*row.value;
  return *this;
}

}  // namespace arenad
