// PeerHeap: one thread's heap in one arena that this process is a peer of, and the lock that costs
// its thread nothing.
//
// Purpose: PeerCache::enter() and leave() around each operation of the owner, a handful of plain
// loads and stores; with_owner_out()
//   for everybody else (housekeeper, trim, close). And the SlabSource of its Heap: what LeaseStock
//   has, and never a call: a heap that is inside an operation waits for nobody.
// Invariants: at most one of {the owner between enter and leave, one other under `others_` with
// wanted_ set} is in the heap. The
//   owner stores its thread's busy_ and then loads which heap is in front of its cache (on the slow
//   way in: wanted_). Another stores wanted_, takes the heap from that front, makes every running
//   thread of the process pass a full barrier (membarrier), and then loads busy_: so at least one
//   of the two sees the other (asymmetric Dekker). Who brings a heap to the front while another
//   wants it: PeerCache::bring_to_front.
// Threads: enter, leave and heap() by the owner; the rest by any thread.
// fork: the caches of the forking thread are emptied in the child, so it never comes here. Crash:
// private memory; see heap.h.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "allocator/heap/heap.h"
#include "arenad/types.h"

namespace arenad::client {

class LeaseStock;
class PeerHeap;

// The heaps of one thread, by pool id (never given twice; 0 is no pool), the last used in front;
// and whether the thread is inside one. Its thread's, but for empty_of and inside.
class PeerCache {
 public:
  // The thread's heap of `pool`, entered; null when it has none in here, or the pool is closed:
  // then there is nothing to leave.
  PeerHeap* enter(std::uint32_t pool) {
    go_inside();
    // relaxed: empty_of, its partner, is followed by a barrier in this thread, and work of others
    // is seen on the slow way.
    if (front_.load(std::memory_order_relaxed) != pool) [[unlikely]]
      return enter_slow(pool);
    if (front_heap_ == nullptr) __builtin_unreachable();  // spares the caller's test for it
    return front_heap_;
  }
  void leave() { busy_.store(0, std::memory_order_release); }  // pairs with the acquire of inside()

  // Not entered. Null when it is not in here.
  PeerHeap* find(std::uint32_t pool) const;
  void put(std::uint32_t pool, PeerHeap* heap);
  void clear();

  // By another thread, under the others_ of a heap whose owner has this cache: from the owner's
  // next full barrier on its fast way into `pool` is closed, until it brings that heap to the front
  // again. False when the pool was not in front.
  bool empty_of(std::uint32_t pool) {
    return front_.compare_exchange_strong(pool, kNone, std::memory_order_seq_cst);
  }
  bool inside() const { return busy_.load(std::memory_order_acquire) != 0; }

 private:
  friend class PeerHeap;
  static constexpr std::uint32_t kEntries = 4;
  static constexpr std::uint32_t kNone = UINT32_MAX;  // an id that no pool has
  struct Entry {
    std::uint32_t pool = kNone;
    PeerHeap* heap = nullptr;
  };
  void go_inside() {
    busy_.store(1, std::memory_order_relaxed);
    std::atomic_signal_fence(
        std::memory_order_seq_cst);  // the barrier behind the store is the other's membarrier
  }
  PeerHeap* enter_slow(std::uint32_t pool);
  void bring_to_front(std::uint32_t pool, PeerHeap* heap);

  std::atomic<std::uint32_t> busy_{0};
  std::atomic<std::uint32_t> front_{
      kNone};  // one arena after the other costs nothing, several in turn some nanoseconds
  PeerHeap* front_heap_ = nullptr;
  Entry entries_[kEntries];
};
// initial-exec: found without a call in a shared library too.
[[gnu::tls_model("initial-exec")]] extern thread_local constinit PeerCache peer_cache;

class alignas(128) PeerHeap {
 public:
  PeerHeap(arenad::Arena& arena, HeapId id, SessionId session, std::uint32_t pool,
           std::shared_ptr<LeaseStock> stock);
  PeerHeap(const PeerHeap&) = delete;
  PeerHeap& operator=(const PeerHeap&) = delete;

  // --- owner
  // ------------------------------------------------------------------------------------------------------------
  // The heap is the calling thread's from now on, or, before it ends, nobody's.
  void be_mine();
  void be_nobodys();
  // As PeerCache::enter, wherever in the cache the heap is. False once the pool is closed; then
  // there is nothing to leave.
  bool enter() {
    peer_cache.go_inside();
    // acquire: pairs with the release of wanted_ by the other who was inside.
    return wanted_.load(std::memory_order_acquire) == 0 ? true : enter_slow();
  }
  void leave() { peer_cache.leave(); }

  // Inside only.
  Heap& heap() { return heap_; }
  void made_block() { ++blocks_made_; }
  void lost_block() { ++blocks_lost_; }
  // What the heap asked for and the stock did not have (its call answered kLeaseNeeded).
  const RunRequest& missing() const { return missing_; }
  // Puts a leased run aside for this heap's next take of that shape; false when there is one
  // already.
  bool reserve(const RunRequest& request, SlabIndex first);
  // Gives such a run to the stock when it was not needed after all.
  void drop_reserve();

  // --- facts that never change
  // --------------------------------------------------------------------------------------------
  SessionId session() const { return untagged_.session(); }
  arenad::Holder holder(std::uint32_t tag) const { return untagged_.tagged(tag); }
  std::byte* data() const { return data_; }
  HeapId id() const { return id_; }
  // Usable bytes of a block that was asked for with `size` and no alignment.
  std::uint64_t usable_bytes(std::uint64_t size) const {
    if (size - 1 >= largest_class_) [[unlikely]]
      return span_usable_bytes(size);
    return geometry_.size_class(geometry_.class_of(size)).usable_bytes;
  }

  // --- others
  // -----------------------------------------------------------------------------------------------------------
  // Runs `work` while the owner is out; false when the owner did not come out within `patience_us`.
  bool with_owner_out(std::uint64_t patience_us, const std::function<void(Heap&)>& work);
  // Keeps the owner out for good, and publishes what it gathered. Waits for it: an operation is
  // short, and waits for nobody.
  void close();
  // Blocks (with an owner, Block) that were made here less those that ended here; exact after
  // close().
  std::int64_t blocks() const { return static_cast<std::int64_t>(blocks_made_ - blocks_lost_); }
  // Whether others have freed something of this heap that it did not take back yet. Reads atomics
  // only.
  bool has_pending() const { return heap_.has_pending(); }
  // Whether the owner has been inside since the last call. Costs it a slow way in, once.
  bool used_since_last_look();

 private:
  friend class PeerCache;
  bool enter_slow();
  [[gnu::pure]] std::uint64_t span_usable_bytes(
      std::uint64_t size) const;  // pure: no branch where nobody looks at it
  bool send_owner_out(std::uint64_t patience_us);

  // Where heap_ has its slabs from: what was set aside for it, else the stock.
  struct Source final : SlabSource {
    explicit Source(PeerHeap& heap) : of(heap) {}
    Result<SlabIndex> take(HeapId heap, const RunRequest& request, SuperslabIndex hint) override;
    void give_back(HeapId heap, SlabIndex first, std::uint32_t units) override;
    PeerHeap& of;
  };

  Heap heap_;  // in front: the fast paths find it where they find this. It is made before source_,
               // and only refers to it
  const arenad::Holder untagged_;  // the session
  std::uint64_t blocks_made_ = 0;
  std::uint64_t blocks_lost_ = 0;
  Source source_{*this};

  const HeapId id_;
  std::byte* const data_;
  const Geometry& geometry_;
  const std::uint64_t largest_class_;
  const std::uint64_t span_overhead_;

  std::atomic<std::uint32_t> wanted_{0};  // by others
  std::atomic<bool> used_{
      false};  // the owner came in front of its cache since the last look; a hint, orders nothing
  const std::uint32_t pool_;
  std::mutex others_;
  PeerCache* owner_ = nullptr;  // under others_: the cache of the thread whose heap it is
  bool closed_ = false;         // under others_
  const std::shared_ptr<LeaseStock> stock_;
  RunRequest missing_;  // inside only, as the two below
  RunRequest reserved_;
  SlabIndex reserved_run_{};
  bool has_reserved_ = false;
};

}  // namespace arenad::client
