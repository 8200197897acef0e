// PeerCache: how a thread reaches its heaps. The inline part of a peer's allocate and free.
//
// Purpose: a peer process has one heap for each thread and arena. A thread enters its heap,
//   allocates or frees, and leaves. Entering and leaving are a few plain loads and stores.
// Invariants: at most one of these is in a heap: its owner, between enter() and leave(), or one
//   other thread, in PeerHeap::with_owner_out (client/lib/peer_heap.h). No lock guards this. It is
//   an asymmetric Dekker protocol:
//   * The owner stores busy_, and then loads front_.
//   * The other thread stores the heap's wanted_ and empties front_. Then it makes every running
//     thread of the process pass a full barrier (membarrier). Then it loads busy_.
//   So at least one of the two sees the other, and the owner needs no barrier of its own. A process
//   in which the kernel refuses membarrier cannot attach as peer.
// Threads: each thread has its own PeerCache. Other threads call empty_of() and inside() only.
// fork: the child empties the cache of its one thread, so a child never enters an inherited heap.
// Crash: private memory; allocator/heap/fast_heap.h says what a kill inside a heap leaves.
#pragma once

#include <atomic>
#include <cstdint>

#include "arenad/allocator/base/export.h"
#include "arenad/allocator/format/block_word.h"
#include "arenad/allocator/format/geometry.h"
#include "arenad/allocator/format/ids.h"
#include "arenad/allocator/heap/fast_heap.h"

namespace arenad::client {

class PeerHeap;

// A process-wide number of a PeerPool, never given twice. kNoPool of a handle that is no peer's.
using PoolId = StrongId<struct PoolTag, std::uint32_t>;
inline constexpr PoolId kNoPool{0};

// What the inline calls need of a peer's heap, beside its FastHeap. Base of PeerHeap.
// Threads: made_block and lost_block inside the heap only. The rest never changes.
class ARENAD_API PeerFacts {
 public:
  PeerFacts(const Geometry& geometry, SessionId session)
      : session_(session, 0),
        geometry_(geometry),
        largest_class_bytes_(geometry.largest_class_bytes()) {}

  SessionId session() const { return session_.session(); }
  arenad::Holder holder(std::uint32_t tag) const { return session_.tagged(tag); }
  // Usable bytes of a block for which `size_bytes` were asked, without an alignment.
  std::uint64_t usable_bytes(std::uint64_t size_bytes) const {
    if (size_bytes - 1 >= largest_class_bytes_) [[unlikely]]
      return span_usable_bytes(size_bytes);
    return geometry_.size_class(geometry_.class_of(size_bytes)).usable_bytes;
  }

  // A heap counts Blocks: those made here, and those that ended here.
  void made_block() { ++blocks_made_; }
  void lost_block() { ++blocks_lost_; }

 protected:
  // Blocks made here less Blocks ended here. Blocks move between heaps, so it may be negative.
  std::int64_t live_blocks() const {
    return static_cast<std::int64_t>(blocks_made_ - blocks_lost_);
  }
  // The same, and counts from 0 again.
  std::int64_t take_live_blocks() {
    const std::int64_t live = live_blocks();
    blocks_made_ = blocks_lost_ = 0;
    return live;
  }
  const Geometry& geometry() const { return geometry_; }

 private:
  // pure: the compiler drops the call when nobody uses the answer.
  [[gnu::pure]] std::uint64_t span_usable_bytes(std::uint64_t size_bytes) const;

  const arenad::Holder session_;  // without a tag
  std::uint64_t blocks_made_ = 0;
  std::uint64_t blocks_lost_ = 0;
  const Geometry& geometry_;
  const std::uint64_t largest_class_bytes_;
};

// The heap that the calling thread has entered, or nothing. Good until the thread leaves.
class EnteredHeap {
 public:
  EnteredHeap() = default;
  EnteredHeap(FastHeap& heap, PeerFacts& facts) : heap_(&heap), facts_(&facts) {}

  explicit operator bool() const { return heap_ != nullptr; }
  PeerFacts& facts() const { return *facts_; }

  // As FastHeap::allocate; the session holds the block under `tag`.
  Result<Allocation> allocate(std::uint64_t size_bytes, std::uint32_t tag) const {
    if (tag > arenad::Holder::kMaxTag) [[unlikely]]
      return Error::kInvalidTag;
    return heap_->allocate(size_bytes, facts_->holder(tag));
  }
  Error free(Ref ref) const { return heap_->free(ref); }

 private:
  FastHeap* heap_ = nullptr;
  PeerFacts* facts_ = nullptr;
};

// The heaps of one thread by pool; the heap used last is in front.
class ARENAD_API PeerCache {
 public:
  // Enters the thread's heap of `pool`. Gives nothing when the cache has no such heap, or when the
  // pool is closed. Then there is nothing to leave.
  EnteredHeap enter(PoolId pool) {
    go_inside();
    // relaxed: pairs with empty_of of another thread, which makes this thread pass a barrier
    // afterwards. What the other thread did in the heap is seen through enter_slow.
    if (front_.load(std::memory_order_relaxed) != pool.value) [[unlikely]]
      return enter_slow(pool);
    if (front_heap_ == nullptr) __builtin_unreachable();  // spares the caller a second test
    return {*front_heap_, *front_facts_};
  }
  // release: pairs with the acquire of inside().
  void leave() { busy_.store(0, std::memory_order_release); }

  // The thread's heap of `pool`, not entered; null when the cache does not have it.
  PeerHeap* find(PoolId pool) const;
  void put(PoolId pool, PeerHeap& heap);
  void clear();

  // For another thread, which holds the lock of a heap whose owner has this cache. Closes the
  // owner's fast way into `pool`: from the owner's next full barrier until the owner brings the
  // heap to the front again. False when that heap was not in front.
  bool empty_of(PoolId pool) {
    std::uint32_t expected = pool.value;
    // seq_cst: pairs with bring_to_front.
    return front_.compare_exchange_strong(expected, kNone, std::memory_order_seq_cst);
  }
  // Whether the thread is in a heap. acquire: pairs with the release of leave().
  bool inside() const { return busy_.load(std::memory_order_acquire) != 0; }

 private:
  friend class PeerHeap;
  static constexpr std::uint32_t kEntries = 4;
  static constexpr std::uint32_t kNone = UINT32_MAX;  // no pool has this id
  struct Entry {
    PoolId pool = kNoPool;
    PeerHeap* heap = nullptr;
  };

  void go_inside() {
    // relaxed: pairs with inside(). The barrier after this store is the other thread's membarrier;
    // the fence keeps the compiler from moving the loads that follow.
    busy_.store(1, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
  EnteredHeap enter_slow(PoolId pool);
  void bring_to_front(PoolId pool, PeerHeap& heap);

  std::atomic<std::uint32_t> busy_{0};
  std::atomic<std::uint32_t> front_{kNone};
  FastHeap* front_heap_ = nullptr;  // as the next: of the heap that came to the front last
  PeerFacts* front_facts_ = nullptr;
  Entry entries_[kEntries];
};

// initial-exec: the thread finds it without a call, in a shared library too.
ARENAD_API [[gnu::tls_model("initial-exec")]] extern thread_local constinit PeerCache peer_cache;

}  // namespace arenad::client
