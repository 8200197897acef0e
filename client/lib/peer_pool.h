// PeerPool: this process's heaps in one arena, one for each thread. Private.
//
// Purpose: find or open the calling thread's heap. Lend the heap to another thread when its thread
//   ends. Serve what the fast path does not: allocations that need a lease, aligned allocations,
//   batches. Let the lease thread work in the heaps of sleeping threads.
//   A process has only so many heaps in an arena. A thread that cannot get one works in those of
//   others, as the lease thread does.
// Invariants: a heap belongs to one thread, or it is idle. Heaps live as long as the pool. No
//   thread calls the daemon while it is inside a heap: an operation that needs a lease leaves the
//   heap, fetches a run, sets the run aside for the heap, and starts again.
//   A pool is open, paused, suspended or closed for good, and its heaps are so with it:
//     * A detach pauses the pool while the daemon decides. When pause() has returned, no thread is
//       in a heap, and none enters one: a thread that comes waits. So what the daemon counts in the
//       block words does not grow, and no thread touches a slab that the daemon has taken over.
//       Frees wait too, because a free that was refused would leave its block held.
//     * A detach without an answer suspends the pool: calls answer why. Only a resume that the
//       daemon has answered opens it again.
// Threads: any, at the same time. Crash: see allocator/heap/heap.h; the daemon adopts the heaps.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "allocator/arena/peer_arena.h"
#include "arenad/types.h"
#include "client/lib/lease_stock.h"
#include "client/lib/peer_heap.h"

namespace arenad::client {

class PeerPool : public std::enable_shared_from_this<PeerPool> {
 public:
  PeerPool(std::unique_ptr<arenad::PeerArena> arena, SessionId session,
           std::unique_ptr<LeaseCalls> calls, std::function<void()> wake_lease_thread);
  ~PeerPool();
  PeerPool(const PeerPool&) = delete;
  PeerPool& operator=(const PeerPool&) = delete;

  PoolId id() const { return id_; }
  arenad::PeerArena& arena() const { return *arena_; }
  SessionId session() const { return session_; }
  bool holder_only() const { return arena_->options().holder_only; }

  // --- operations of threads: each finds the thread's heap, or opens one
  // Allocates one block. `for_a_block`: the heap counts a Block.
  Status allocate(std::uint64_t size_bytes, const AllocateOptions& options, bool for_a_block,
                  AllocatedBlock& out);
  // Calls work(heap, index) for 0 .. count-1 inside the thread's heap.
  Status for_each_inside(std::size_t count,
                         const std::function<void(PeerHeap&, std::size_t)>& work);
  // Calls work(heap) once inside the thread's heap.
  Status inside(const std::function<void(PeerHeap&)>& work);
  // Frees by the arena's rule of who may free. Inside `heap`.
  Error free(PeerHeap& heap, Ref ref) const;
  Error free_if_held(PeerHeap& heap, Ref ref) const;
  // The calling thread ends: its heap becomes idle.
  void thread_ended(PeerHeap& heap);

  // --- the session
  // Keeps all threads out for good, and publishes gathered frees. From then on every operation
  // answers `why`. Returns the number of Blocks that are alive and not counted yet.
  std::int64_t close(const Status& why);
  // Makes the threads that come wait, until resume() or close().
  void pause();
  void resume();
  // As close, until reopen(). Nothing when the pool is closed for good; so is reopen.
  std::int64_t suspend(const Status& why);
  void reopen();
  // Returns to the daemon what no block needs, of every heap whose owner comes out in time.
  void trim();

  // --- the lease thread
  // Leases and returns what the stock asks for.
  void lease_ahead();
  // Looks at the heaps; every 100 ms or so. True when something was going on.
  bool tick();

  LeaseStock& stock() { return *stock_; }
  std::size_t heap_count() const;

 private:
  struct HeapState {
    std::unique_ptr<PeerHeap> heap;
    std::uint32_t quiet_ticks = 0;  // ticks since its thread worked last
  };

  enum class State : std::uint8_t { kOpen, kPaused, kSuspended, kClosed };

  // Errors: why_closed_, while threads are refused. Waits while the pool is paused.
  Status await_open(std::unique_lock<std::mutex>& lock);
  bool refuses() const { return state_ == State::kSuspended || state_ == State::kClosed; }
  std::int64_t shut(State state, const Status& why);
  // The heap in which the calling thread works, and whether that is its own. When the thread cannot
  // get one, it is the heap of another thread.
  struct Seat {
    PeerHeap* heap = nullptr;
    bool own = false;
  };
  Answer<Seat> seat();
  // Runs work() inside the heap. False when the pool is closed.
  template <class Work>
  bool work_in(const Seat& seat, Work work);
  Answer<PeerHeap*> heap_of_thread();
  Answer<PeerHeap*> idle_or_new_heap();
  Answer<PeerHeap*> new_heap();
  Status supply(const Seat& seat, const RunShape& missing, std::uint32_t wait_ms);
  Status why_closed() const;
  Status refusal(Error error, std::uint64_t size_bytes, std::uint32_t align_bytes) const;
  std::vector<PeerHeap*> all_heaps() const;
  std::uint32_t count_quiet_tick(std::size_t heap, bool used);

  const PoolId id_;
  const SessionId session_;
  const std::unique_ptr<arenad::PeerArena> arena_;
  const std::shared_ptr<LeaseStock> stock_;
  // No heap is asked for before that time: the daemon gives no more. Monotonic nanoseconds.
  // relaxed: orders nothing, and pairs with itself.
  std::atomic<std::int64_t> ask_again_ns_{0};

  std::mutex shutting_;  // held by the thread that changes state_, until the heaps have followed
  mutable std::mutex mutex_;
  std::vector<HeapState> heaps_;     // under mutex_; heaps are only added
  std::vector<PeerHeap*> idle_;      // under mutex_
  std::uint32_t opening_ = 0;        // under mutex_: threads that ask the daemon for a heap
  State state_ = State::kOpen;       // under mutex_
  Status why_closed_;                // under mutex_: of the last shut
  std::condition_variable changed_;  // state_ or opening_ has changed
};

}  // namespace arenad::client
