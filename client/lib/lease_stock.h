// LeaseStock: the runs that a session has leased in one arena and that no heap uses now. Private.
//
// Purpose: heaps take runs from the stock and give runs back without a call to the daemon. The
// lease thread leases ahead, and returns what nobody needed.
// * Each class has a target: how many runs to have in stock. It starts at 0. It doubles each time
//   the class runs dry, up to 8 MiB. It halves in a tick in which heaps gave back as many runs as
//   they took.
// * Of the runs that stayed in stock for half a second, half are returned. So a load that grows and
//   shrinks makes no calls.
// * While the daemon is away nothing is returned. The heaps have nothing else to live on.
// Invariants:
// * A run is in one of these places: in the stock, in a heap, or on its way to the daemon. One
//   mutex guards all moves between them. So stock, targets and surplus are one class.
// * A run keeps the shape that it was leased with, because the daemon's ledger has it. Any heap of
//   the session may use it.
// Threads: any, at the same time. The mutex is held for pushes and pops only. fetch, fill_ahead and
// return_surplus call the daemon, without the mutex.
// Crash: the daemon takes back all runs that its ledger shows for the session.
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
  // The stock calls `wake_lease_thread` when fill_ahead or return_surplus has work: on any thread,
  // and without a lock.
  LeaseStock(const Geometry& geometry, std::uint32_t unit_count, std::unique_ptr<LeaseCalls> calls,
             std::function<void()> wake_lease_thread);

  // --- inside a heap: no call to the daemon
  // A run of that shape. kLeaseNeeded: there is none; leave the heap and fetch().
  Result<SlabIndex> take(const RunShape& request);
  void give_back(SlabIndex run, std::uint32_t units);

  // --- outside, by a thread that cannot go on
  // One run of that shape. Leases for `heap` when the stock has none, and with the run more of its
  // class for later. Errors: those of LeaseCalls::lease.
  Answer<SlabIndex> fetch(HeapId heap, const RunShape& request, std::uint32_t wait_ms);
  Answer<HeapId> open_heap() { return calls_->open_heap(); }

  // --- the lease thread
  // Leases for classes that have less than half of their target.
  void fill_ahead(HeapId heap);
  void return_surplus();
  // Every 100 ms or so: what was not needed becomes surplus.
  void tick();
  // Returns the whole stock to the daemon, unless it is away. Answers how many runs that were.
  std::size_t return_all();
  bool empty() const;

 private:
  struct ClassStock {
    std::vector<SlabIndex> runs;
    std::uint32_t target = 0;  // runs to have in stock
    std::uint32_t least = 0;   // fewest runs in stock since the last return
    std::int32_t grown = 0;    // runs taken less runs given back since the last tick
    bool dry = false;          // a heap found the stock empty since the last lease
    bool fetching = false;     // a lease call for this class is under way; others may wait for it
  };

  // What a run was leased as. Zeros: the run is not leased. Trivial, so that a ZeroedArray can have
  // it.
  struct LeasedClass {
    bool leased;
    std::uint8_t class_number;  // of a ClassId; kSpanClass for a span
  };

  ClassStock& stock_of(ClassId cls) { return classes_[cls.value]; }
  void note_leased(const std::vector<SlabIndex>& runs, ClassId cls) {
    for (const SlabIndex run : runs) class_of_run_[run.value] = {true, cls.value};
  }
  std::uint32_t most_ahead(std::uint32_t units) const;
  SlabIndex pop(ClassStock& c);
  void add_surplus(SlabIndex run, std::uint32_t units);
  static void put(ClassStock& c, const std::vector<SlabIndex>& runs, std::size_t from);
  Answer<SlabIndex> lease_one(HeapId heap, const RunShape& request, std::uint32_t wait_ms);

  const Geometry& geometry_;
  const std::uint32_t unit_count_;
  const std::unique_ptr<LeaseCalls> calls_;
  const std::function<void()> wake_lease_thread_;

  mutable std::mutex mutex_;         // guards all members below
  std::condition_variable changed_;  // a call that was under way has ended
  std::array<ClassStock, kMaxClasses> classes_;
  // By first unit of a run.
  ZeroedArray<LeasedClass> class_of_run_;
  // Runs to be returned: with the next tick, or when they are 2 MiB.
  std::vector<SlabIndex> surplus_;
  std::uint64_t surplus_units_ = 0;
  std::uint32_t ticks_ = 0;
  bool woken_ = false;  // the lease thread was woken and has not come yet
};

}  // namespace arenad::client
