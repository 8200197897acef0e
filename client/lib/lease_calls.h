// LeaseCalls: what a peer's heaps need of the daemon.
//
// Purpose: OpenHeap, LeaseSlabs and ReturnSlabs of one arena, as an interface, so that stock and
// pool know no gRPC. Threads: any, at once. They block; nobody calls them inside a heap. Crash: a
// lease whose answer never arrived stays with the session until it resumes or ends.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "allocator/arena/slab_source.h"
#include "arenad/status.h"

namespace arenad::client {

class LeaseCalls {
 public:
  // Who asks: a thread that cannot go on without it (waits for a daemon that is away, up to the
  // call timeout), or the lease thread.
  enum class Patience : std::uint8_t { kThread, kLeaseThread };

  virtual ~LeaseCalls() = default;
  virtual Answer<HeapId> open_heap() = 0;
  // Appends at least one run, or answers why not. Errors: those of Heaps.LeaseSlabs; UNAVAILABLE.
  virtual Status lease(HeapId heap, const RunRequest& request, std::uint32_t count,
                       std::uint32_t wait_ms, Patience patience, std::vector<SlabIndex>& runs) = 0;
  // Returns leases of which nothing is out. When that fails they are the daemon's all the same: it
  // finds them when the session resumes or ends.
  virtual void give_back(std::span<const SlabIndex> runs) = 0;
};

}  // namespace arenad::client
