// verify: the check of an arena. Unit tests, fuzzers, chaos runs, Audit and recovery use it.
//
// Purpose: compares three counts of each slab: the counters that only grow, the block words, and
// the private state of the owner's heap.
// Invariants: a report is exact only when nobody works in the arena meanwhile. verify_leases is the
// exception. A daemon stops its shards for an audit, and each shard verifies its own heap.
// Threads: verify_heap by the heap's owner; the others by any thread.
// Crash: reads only.
#pragma once

#include <concepts>
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
  std::uint64_t leased_slabs = 0;  // slabs among them that peers have leased
  std::uint64_t units = 0;         // 64 KiB units in slabs and spans
  std::uint64_t capacity_blocks = 0;
  std::uint64_t held = 0;
  std::uint64_t shared = 0;
  std::uint64_t returning = 0;
  std::uint64_t cached = 0;
  std::uint64_t free = 0;
  std::uint64_t uncarved = 0;
  std::uint64_t held_bytes = 0;  // sum of the strides of held and shared blocks
  // Blocks that are held, shared or returning, as the heaps' counters say: allocs + adopted - local
  // frees - drained. Leased slabs count as their words say.
  std::int64_t counted_out = 0;
  std::uint64_t mismatches = 0;
  std::vector<std::string> findings;  // the first kMaxFindings

  static constexpr std::size_t kMaxFindings = 100;
  // Mismatches that have no text among the findings.
  std::uint64_t findings_left_out() const { return mismatches - findings.size(); }
  // Counts a mismatch. `text` makes its finding, and is called only for a finding that is kept: a
  // hostile peer can forge millions of words, and all shards stand still during an audit.
  template <std::invocable Text>
  void mismatch(Text&& text) {
    ++mismatches;
    if (findings.size() < kMaxFindings) findings.push_back(text());
  }
  VerifyReport& operator+=(const VerifyReport& o);
  bool exact() const { return mismatches == 0; }
};

// Checks the runs that peers have leased, by their block words. A FREE block counts as `cached`,
// because the peer has it. These must hold:
// * Each run's counts add up to its capacity.
// * Each session that holds a block or has leased a run is attached: `attached(session)`.
// * Each sharer bit of a SHARED block is a session's.
// Exact while peers work, too: a block that moves meanwhile counts where it was seen.
ARENAD_API void verify_leases(const Arena& arena, const std::function<bool(SessionId)>& attached,
                              VerifyReport& report);

// Checks the slabs of one heap: block words, private state and control headers must agree. Adds to
// the report. The caller is the heap's owner, and nobody works in the arena. `ledger` is the
// arena's, and the runs must be this heap's there, too. A peer has no ledger and passes null.
ARENAD_API void verify_heap(const Heap& heap, const Ledger* ledger, VerifyReport& report);

// Checks what concerns the arena as a whole: the unit map against the slabs of the report, and the
// law of conservation over the sum of the heaps. Call it after verify_heap of every heap and
// verify_leases have added to the report.
ARENAD_API void verify_arena(const Arena& arena, VerifyReport& report);

// verify_heap of each heap, then verify_arena. For callers that own all heaps of an arena without
// peers.
ARENAD_API VerifyReport verify(const Arena& arena, std::span<const Heap* const> heaps);

}  // namespace arenad
