// PeerHeap: one thread's heap in one arena that this process is a peer of, and the lock that costs its thread nothing.
//
// Purpose: enter() and leave() around each operation of the owner, a handful of plain loads and stores; with_owner_out() for
//   everybody else (housekeeper, trim, close). And the SlabSource of its Heap: what LeaseStock has, and never a call: a heap
//   that is inside an operation waits for nobody.
// Invariants: at most one of {the owner between enter and leave, one other under `others_` with wanted_ set} is in the heap. The
//   owner stores busy_ and then loads wanted_; another stores wanted_, makes every running thread of the process pass a full
//   barrier (membarrier), and then loads busy_: so at least one of the two sees the other (asymmetric Dekker).
// Threads: enter, leave and heap() by the owner; the rest by any thread.
// fork: the caches of the forking thread are emptied in the child, so it never comes here. Crash: private memory; see heap.h.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "allocator/heap.h"
#include "client/lib/types.h"

namespace arenad::client {

class LeaseStock;

class alignas(128) PeerHeap {
 public:
  PeerHeap(arenad::Arena& arena, HeapId id, SessionId session, std::shared_ptr<LeaseStock> stock);
  PeerHeap(const PeerHeap&) = delete;
  PeerHeap& operator=(const PeerHeap&) = delete;

  // --- owner ------------------------------------------------------------------------------------------------------------
  // False once the pool is closed; then there is nothing to leave.
  bool enter() {
    busy_.store(kInside, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);   // the barrier between the two is the other's membarrier
    // acquire: pairs with the release of wanted_ by the other who was inside.
    return wanted_.load(std::memory_order_acquire) == 0 ? true : enter_slow();
  }
  void leave() { busy_.store(kUsed, std::memory_order_release); }   // pairs with the acquire in with_owner_out

  // Inside only.
  Heap& heap() { return heap_; }
  void made_block() { ++blocks_made_; }
  void lost_block() { ++blocks_lost_; }
  // What the heap asked for and the stock did not have (its call answered kWaitExpired).
  const RunRequest& missing() const { return missing_; }
  // Puts a leased run aside for this heap's next take of that shape; false when there is one already.
  bool reserve(const RunRequest& request, SlabIndex first);
  // Gives such a run to the stock when it was not needed after all.
  void drop_reserve();

  // --- facts that never change --------------------------------------------------------------------------------------------
  SessionId session() const { return untagged_.session(); }
  arenad::Holder holder(std::uint32_t tag) const { return untagged_.tagged(tag); }
  std::byte* data() const { return data_; }
  HeapId id() const { return id_; }
  // Usable bytes of a block that was asked for with `size` and no alignment.
  std::uint64_t usable_bytes(std::uint64_t size) const {
    if (size - 1 >= largest_class_) [[unlikely]] return span_usable_bytes(size);
    return geometry_.size_class(geometry_.class_of(size)).usable_bytes;
  }

  // --- others -----------------------------------------------------------------------------------------------------------
  // Runs `work` while the owner is out; false when the owner did not come out within `patience_us`.
  bool with_owner_out(std::uint64_t patience_us, const std::function<void(Heap&)>& work);
  // Keeps the owner out for good, and publishes what it gathered. Waits for it: an operation is short, and waits for nobody.
  void close();
  // Blocks (with an owner, Block) that were made here less those that ended here; exact after close().
  std::int64_t blocks() const { return static_cast<std::int64_t>(blocks_made_ - blocks_lost_); }
  // Whether others have freed something of this heap that it did not take back yet. Reads atomics only.
  bool has_pending() const { return heap_.has_pending(); }
  // Whether the owner has been inside since the last call.
  bool used_since_last_look();

 private:
  enum : std::uint32_t { kIdle = 0, kInside = 1, kUsed = 2 };   // kUsed: outside, and was inside since the last look

  bool enter_slow();
  [[gnu::pure]] std::uint64_t span_usable_bytes(std::uint64_t size) const;   // pure: no branch where nobody looks at it
  bool wait_for_owner(std::uint64_t patience_us);

  // Where heap_ has its slabs from: what was set aside for it, else the stock.
  struct Source final : SlabSource {
    explicit Source(PeerHeap& heap) : of(heap) {}
    Result<SlabIndex> take(HeapId heap, const RunRequest& request, SuperslabIndex hint) override;
    void give_back(HeapId heap, SlabIndex first, std::uint32_t units) override;
    PeerHeap& of;
  };

  // The owner's line, in front, where short instructions reach. busy_ by the owner, but for used_since_last_look; wanted_ by others.
  std::atomic<std::uint32_t> busy_{kIdle};
  std::atomic<std::uint32_t> wanted_{0};
  const arenad::Holder untagged_;   // the session
  std::uint64_t blocks_made_ = 0;
  std::uint64_t blocks_lost_ = 0;
  Source source_{*this};
  Heap heap_;

  const HeapId id_;
  std::byte* const data_;
  const Geometry& geometry_;
  const std::uint64_t largest_class_;
  const std::uint64_t span_overhead_;

  std::mutex others_;
  bool closed_ = false;            // under others_
  const std::shared_ptr<LeaseStock> stock_;
  RunRequest missing_;             // inside only, as the two below
  RunRequest reserved_;
  SlabIndex reserved_run_{};
  bool has_reserved_ = false;
};

// The heaps that the calling thread uses, by pool id (never given twice; 0 is no pool).
class PeerCache {
 public:
  PeerHeap* find(std::uint32_t pool) {
    if (recent_.pool != pool) [[unlikely]] return find_slow(pool);
    if (recent_.heap == nullptr) __builtin_unreachable();   // spares the caller's test for it
    return recent_.heap;
  }
  void put(std::uint32_t pool, PeerHeap* heap) { recent_ = entries_[pool % kEntries] = {pool, heap}; }
  void clear() { *this = {}; }

 private:
  static constexpr std::uint32_t kEntries = 4;
  struct Entry {
    std::uint32_t pool = UINT32_MAX;   // an id that no pool has: the entry is empty
    PeerHeap* heap = nullptr;
  };
  PeerHeap* find_slow(std::uint32_t pool);   // null when it is not among the entries

  Entry recent_;   // one arena after the other costs nothing, several in turn some two nanoseconds
  Entry entries_[kEntries];
};
// initial-exec: found without a call in a shared library too.
[[gnu::tls_model("initial-exec")]] extern thread_local constinit PeerCache peer_cache;

}  // namespace arenad::client
