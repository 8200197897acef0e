// PeerHeap: one thread's heap in one arena, and the lock that costs this thread nothing. Private.
//
// Purpose: the owner enters and leaves through its PeerCache (arenad/peer_cache.h). Everybody else
//   (the lease thread, a trim, close) enters with with_owner_out(). The heap takes its slabs from
//   the LeaseStock, and never calls the daemon: a thread inside a heap waits for nobody.
// Invariants: either the owner or one other thread is in the heap, never both. peer_cache.h has the
//   protocol. others_ lets the other threads in one after the other.
//   A heap is open, paused or closed. A paused heap keeps everybody out, and its owner waits. A
//   closed heap refuses its owner.
// Threads: be_mine, be_nobodys, enter, leave and what is marked "inside" by the owner; the rest by
//   any thread.
// fork: the child empties the caches, so it never comes here.
// Crash: private memory; allocator/heap/heap.h says what a kill inside a heap leaves.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "allocator/arena/peer_arena.h"
#include "allocator/heap/heap.h"
#include "arenad/peer_cache.h"

namespace arenad::client {

class LeaseStock;

class alignas(128) PeerHeap : public PeerFacts {
 public:
  PeerHeap(arenad::PeerArena& arena, HeapId id, SessionId session, PoolId pool,
           std::shared_ptr<LeaseStock> stock);
  PeerHeap(const PeerHeap&) = delete;
  PeerHeap& operator=(const PeerHeap&) = delete;

  HeapId id() const { return id_; }

  // --- owner
  // The heap belongs to the calling thread from now on.
  void be_mine();
  // The thread ends: the heap belongs to nobody.
  void be_nobodys();
  // As PeerCache::enter, but finds the heap when it is not in the cache, too. Waits while the heap
  // is paused. False when it is closed; then there is nothing to leave.
  bool enter();
  void leave() { peer_cache.leave(); }

  // --- inside
  Heap& heap() { return heap_; }
  // What the heap asked the stock for last, in vain: its call answered kLeaseNeeded.
  const RunShape& missing() const { return missing_; }
  // Sets a leased run aside for the heap's next request of that shape. False when a run is set
  // aside already.
  bool reserve(const RunShape& request, SlabIndex first);
  // Gives that run to the stock when the heap did not need it after all.
  void drop_reserve();

  // --- other threads
  // Runs `work` in the heap while the owner is out. False when the owner did not come out within
  // `patience_us`, when the kernel refused the barrier (process_barrier.h), or when the heap is
  // closed or paused. With a patience of UINT64_MAX it waits for the end of a pause.
  bool with_owner_out(std::uint64_t patience_us, const std::function<void(Heap&)>& work);
  // Makes the owner wait at its next operation, until resume, close or reopen. Publishes the frees
  // that it gathered. Waits for the owner, whose operation is short.
  void pause();
  void resume();
  // Refuses the owner until reopen, and publishes the frees that it gathered. Waits as pause does.
  void close();
  void reopen();
  // Blocks made in this heap less Blocks ended in this heap, since the last call. After close().
  std::int64_t take_blocks() { return take_live_blocks(); }
  // Whether others freed blocks of this heap that it did not take back yet. Reads atomics only.
  bool has_pending() const { return heap_.has_pending(); }
  // Whether the owner has been inside since the last call. Sends the owner's next enter the slow
  // way once.
  bool used_since_last_look();

 private:
  friend class PeerCache;

  // Gives heap_ its slabs: the run that is set aside, else one of the stock.
  class Source final : public SlabSource {
   public:
    explicit Source(PeerHeap& heap) : heap_(heap) {}
    Result<SlabIndex> take(HeapId heap, const RunShape& request, SuperslabIndex hint) override;
    void give_back(HeapId heap, SlabIndex first, std::uint32_t units) override;

   private:
    PeerHeap& heap_;
  };

  bool enter_slow();
  bool send_owner_out(std::uint64_t patience_us);

  // heap_ comes first, so that the fast paths find it near the facts. Its constructor keeps the
  // reference to source_, and does not use it.
  Heap heap_;
  Source source_{*this};
  const HeapId id_;
  const PoolId pool_;
  const std::shared_ptr<LeaseStock> stock_;

  // Whether another thread wants the heap. Pairs with front_ of the owner's PeerCache.
  std::atomic<std::uint32_t> wanted_{0};
  // Whether the heap came to the front of its owner's cache since the last look. A hint: it orders
  // nothing, and pairs with used_since_last_look alone.
  std::atomic<bool> used_{false};
  std::mutex others_;
  std::condition_variable resumed_;  // paused_ is false again
  PeerCache* owner_ = nullptr;       // under others_: the cache of the thread that owns the heap
  bool paused_ = false;              // under others_; wanted_ stays set, as it does when closed
  bool closed_ = false;              // under others_

  // Inside only:
  RunShape missing_;
  RunShape reserved_;
  SlabIndex reserved_run_{};
  bool has_reserved_ = false;
};

}  // namespace arenad::client
