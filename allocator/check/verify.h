// verify(): the one check of an arena, for unit tests, fuzzers, chaos runs, Audit and recovery.
//
// Purpose: compares, slab by slab, the monotonic counters, a popcount of the block words and the
// owner heap's private state. Threads: exact only while nobody works in the arena; a daemon stops
// its shards for it and lets each verify its own heap. Crash: reads only.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "../base/export.h"
#include "../format/ids.h"

namespace arenad {

class Arena;
class Heap;
class Ledger;

struct ARENAD_API VerifyReport {
  std::uint64_t slabs = 0;
  std::uint64_t leased_slabs = 0;  // of them in peers' hands
  std::uint64_t units = 0;         // 64 KiB units in slabs and spans
  std::uint64_t capacity_blocks = 0;
  std::uint64_t held = 0;
  std::uint64_t shared = 0;
  std::uint64_t returning = 0;
  std::uint64_t cached = 0;
  std::uint64_t free = 0;
  std::uint64_t uncarved = 0;
  std::uint64_t held_bytes = 0;  // sum of the strides of held and shared blocks
  std::int64_t counted_out =
      0;  // allocs + adopted - local frees - drained: what the counters say is out (held + shared +
          // returning); of leased slabs what their words say
  std::uint64_t mismatches = 0;
  std::vector<std::string> findings;  // the first kMaxFindings

  static constexpr std::size_t kMaxFindings = 100;
  void mismatch(std::string finding);
  VerifyReport& operator+=(const VerifyReport& o);
  bool exact() const { return mismatches == 0; }
};

// Runs that peers have leased, by their words: each FREE block of them is `cached` (in the peer's
// hands), conservation holds, and nothing is held, shared or being returned by a session that is
// not attached (`attached(session)`) or, of shared ones, has no sharer bit. Exact while peers work,
// too: what moves meanwhile is counted where it was seen.
ARENAD_API void verify_leases(const Arena& arena, const std::function<bool(SessionId)>& attached,
                              VerifyReport& report);

// One heap's slabs: block words against private state against control headers. Adds to the report.
// Exact only while nobody works in the arena; the caller is the heap's owner. `ledger` is the
// arena's: the runs must be this heap's there too. A peer has none and passes null.
ARENAD_API void verify_heap(const Heap& heap, const Ledger* ledger, VerifyReport& report);

// The arena's part: unit map against slab headers, and the law over the sum of the heaps' reports.
// Call after adding up verify_heap of every heap of the arena, and verify_leases.
ARENAD_API void verify_arena(const Arena& arena, VerifyReport& report);

// All of it, for callers that own all heaps.
ARENAD_API VerifyReport verify(const Arena& arena, std::span<const Heap* const> heaps);

}  // namespace arenad
