// LeaseCalls: what a peer's heaps need of the daemon.
//
// Purpose: OpenHeap, LeaseSlabs and ReturnSlabs of one arena, as an interface. So the stock and the
//   pool know no gRPC.
// Threads: any, at the same time. The calls block; no thread makes them inside a heap.
// Crash: the session keeps a lease whose answer never arrived, until it resumes or ends.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "allocator/arena/slab_source.h"
#include "arenad/status.h"

namespace arenad::client {

class LeaseCalls {
 public:
  // Who asks. kThread: a thread that cannot go on without the answer; it waits for a daemon that is
  // away, up to the call timeout. kLeaseThread: the lease thread; it does not wait.
  enum class Patience : std::uint8_t { kThread, kLeaseThread };

  virtual ~LeaseCalls() = default;
  virtual Answer<HeapId> open_heap() = 0;
  // Appends at least one run, or answers why not. Errors: those of Heaps.LeaseSlabs; UNAVAILABLE.
  virtual Status lease(HeapId heap, const RunShape& request, std::uint32_t count,
                       std::uint32_t wait_ms, Patience patience, std::vector<SlabIndex>& runs) = 0;
  // False while the daemon is away: what is given back then is lost to the session.
  virtual bool reachable() const = 0;
  // Returns runs of which no block is out. The runs belong to the daemon even when the call fails:
  // the daemon finds them when the session resumes or ends.
  virtual void give_back(std::span<const SlabIndex> runs) = 0;
};

}  // namespace arenad::client
