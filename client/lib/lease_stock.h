// LeaseStock: the slabs that a session has leased in one arena and that no heap of it uses now.
//
// Purpose: heaps take from it and give back to it without a call; the lease thread leases ahead and
// returns what nobody needed. How far
//   ahead: a class starts with nothing, and its target doubles each time it runs dry, to at most 8
//   MiB; it halves when a tick passes in which the heaps gave back as much as they took. Of what
//   stayed in stock over half a second half is returned, so that a load that breathes makes no
//   calls.
// Invariants: a run is in exactly one of: the stock, a heap, on its way to the daemon. It is used
// as what it was leased as (the
//   ledger says it), in any heap of the session.
// Threads: any, at once; one mutex, held for pushes and pops only. fetch, fill_ahead and
// return_surplus call the daemon. Crash: the daemon takes over all runs that its ledger shows for
// the session.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "allocator/arena/slab_source.h"
#include "allocator/base/zeroed_array.h"
#include "allocator/format/geometry.h"
#include "client/lib/lease_calls.h"

namespace arenad::client {

class LeaseStock {
 public:
  // `wake_lease_thread` is called when fill_ahead or return_surplus has something to do; any
  // thread, no lock held.
  LeaseStock(const Geometry& geometry, std::uint32_t unit_count, std::unique_ptr<LeaseCalls> calls,
             std::function<void()> wake_lease_thread);

  // --- inside a heap: no call
  // -------------------------------------------------------------------------------------------------
  Result<SlabIndex> take(const RunRequest& request);  // kLeaseNeeded: fetch() outside the heap
  void give_back(SlabIndex run, std::uint32_t units);

  // --- outside: a thread that cannot go on
  // ------------------------------------------------------------------------------------ One run of
  // that shape, leased for `heap` if there is none; with it, more of its class for later.
  Answer<SlabIndex> fetch(HeapId heap, const RunRequest& request, std::uint32_t wait_ms);
  Answer<HeapId> open_heap() { return calls_->open_heap(); }

  // --- the lease thread
  // --------------------------------------------------------------------------------------------------------------
  void fill_ahead(HeapId heap);  // classes that have less than half of their target
  void return_surplus();
  void tick();  // every 100 ms or so: what was not needed becomes surplus
  // Everything in stock goes back to the daemon. Returns how many runs did.
  std::size_t return_all();
  bool empty() const;

 private:
  struct ClassStock {
    std::vector<SlabIndex> runs;
    std::uint32_t target = 0;  // wanted in stock while the class grows
    std::uint32_t least = 0;   // fewest in stock since the last return
    std::int32_t grown = 0;    // taken less given back since the last tick
    bool dry = false;          // somebody found it empty since the last lease
    bool fetching = false;     // a call of this class is under way, that waiters may wait for
  };

  std::uint32_t most_ahead(std::uint32_t units) const;
  SlabIndex pop(ClassStock& c);
  void add_surplus(SlabIndex run, std::uint32_t units);
  void put(ClassStock& c, const std::vector<SlabIndex>& runs, std::size_t from);
  Answer<SlabIndex> lease_one(HeapId heap, const RunRequest& request, std::uint32_t wait_ms);

  const Geometry& geometry_;
  const std::uint32_t unit_count_;
  const std::unique_ptr<LeaseCalls> calls_;
  const std::function<void()> wake_lease_thread_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;  // some fetching ended
  std::array<ClassStock, kMaxClasses> classes_;
  ZeroedArray<std::uint8_t>
      class_of_run_;  // by first unit: class + 1 of leased runs, kSpanRun for spans, 0 not leased
  static constexpr std::uint8_t kSpanRun = 255;
  std::vector<SlabIndex> surplus_;  // to be returned: at the next tick, or when it is 2 MiB
  std::uint64_t surplus_units_ = 0;
  std::uint32_t ticks_ = 0;
  bool woken_ = false;  // the lease thread was told and has not come yet
};

}  // namespace arenad::client
