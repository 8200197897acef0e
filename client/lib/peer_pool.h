// PeerPool: this process's heaps in one arena, one a thread.
//
// Purpose: find or open the calling thread's heap, lend it to the next thread when its own ends,
// everything of an allocation that
//   is not the fast path (leasing, errors with text), and what the lease thread does to heaps whose
//   threads sleep.
// Invariants: a heap is some thread's, or idle; heaps live as long as the pool. No call to the
// daemon is made inside a heap: an
//   operation that needs a lease leaves, fetches, sets the run aside for itself and starts again.
// Threads: any, at once. Crash: see heap.h; the daemon adopts the heaps.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "allocator/arena/arena.h"
#include "arenad/types.h"
#include "client/lib/lease_stock.h"
#include "client/lib/peer_heap.h"

namespace arenad::client {

class PeerPool : public std::enable_shared_from_this<PeerPool> {
 public:
  PeerPool(std::unique_ptr<arenad::Arena> arena, SessionId session,
           std::unique_ptr<LeaseCalls> calls, std::function<void()> wake_lease_thread);
  ~PeerPool();

  std::uint32_t id() const { return id_; }
  arenad::Arena& arena() const { return *arena_; }
  SessionId session() const { return session_; }
  bool holder_only() const { return arena_->options().holder_only; }

  // --- operations of threads. Each finds the thread's heap, opening one when it has none.
  // One block. `counted`: a Block is made of it.
  Status allocate(std::uint64_t size, const AllocateOptions& options, bool counted,
                  AllocatedBlock& out);
  // Calls work(heap, index) for 0..count-1 inside the thread's heap.
  Status for_each_inside(std::size_t count,
                         const std::function<void(PeerHeap&, std::size_t)>& work);
  // The same once, in another thread's heap when this thread gets none: for what must not fail.
  Status inside(const std::function<void(PeerHeap&)>& work);
  // Free with the arena's rule of who may.
  Error free(PeerHeap& heap, Ref ref) const;

  // --- the session
  // ----------------------------------------------------------------------------------------------------------
  // Keeps all threads out for good; from then on everything answers `why`. Publishes what was
  // gathered. Returns the Blocks that live (0 when it was closed before).
  std::int64_t close(const Status& why);
  // Flushes what can be given back, of every heap whose owner comes out in time, and returns it.
  void trim();

  // --- the lease thread
  // -------------------------------------------------------------------------------------------------------------
  void lease_ahead();  // fill and return, as the stock asks for
  bool tick();         // every 100 ms: true when something was going on

  LeaseStock& stock() { return *stock_; }
  std::size_t heap_count() const;

 private:
  friend struct ThreadHeaps;
  struct HeapState {
    std::unique_ptr<PeerHeap> heap;
    std::uint32_t quiet_ticks = 0;  // the lease thread's
  };

  Answer<PeerHeap*> heap_of_thread();
  Answer<PeerHeap*> adopt_or_open();
  void thread_ended(PeerHeap* heap);
  Status supply(PeerHeap& heap, const RunRequest& missing, std::uint32_t wait_ms);
  Status why_closed() const;
  Status refusal(Error error, std::uint64_t size, std::uint32_t align) const;
  std::vector<PeerHeap*> all_heaps() const;

  const std::uint32_t id_;
  const SessionId session_;
  const std::unique_ptr<arenad::Arena> arena_;
  const std::shared_ptr<LeaseStock> stock_;

  mutable std::mutex mutex_;
  std::vector<HeapState> heaps_;
  std::vector<PeerHeap*> idle_;
  bool closed_ = false;
  Status why_closed_;
};

// Says in text what was wrong with one ref.
Status ref_refusal(Error error, Ref ref);

}  // namespace arenad::client
