#include "client/lib/peer_heap.h"

#include <chrono>
#include <thread>
#include <utility>

#include "client/lib/lease_stock.h"
#include "client/lib/process_barrier.h"

namespace arenad::client {

PeerHeap::PeerHeap(arenad::PeerArena& arena, HeapId id, SessionId session, PoolId pool,
                   std::shared_ptr<LeaseStock> stock)
    : PeerFacts(arena.geometry(), session),
      heap_(arena, id, session, source_),
      id_(id),
      pool_(pool),
      stock_(std::move(stock)) {}

void PeerHeap::be_mine() {
  const std::lock_guard lock(others_);
  owner_ = &peer_cache;
}

void PeerHeap::be_nobodys() {
  const std::lock_guard lock(others_);
  owner_ = nullptr;
}

std::uint64_t PeerFacts::span_usable_bytes(std::uint64_t size_bytes) const {
  return geometry_.span_for(size_bytes).usable_bytes;
}

bool PeerHeap::enter() {
  peer_cache.go_inside();
  // acquire: pairs with the release of wanted_ at the end of with_owner_out.
  return wanted_.load(std::memory_order_acquire) == 0 ? true : enter_slow();
}

bool PeerHeap::enter_slow() {
  for (;;) {
    peer_cache.leave();
    {
      std::unique_lock wait_for_the_other(others_);
      resumed_.wait(wait_for_the_other, [this] { return !paused_; });
      if (closed_) return false;
    }
    peer_cache.go_inside();
    if (wanted_.load(std::memory_order_acquire) == 0) return true;  // as in enter
  }
}

// Holds others_. False when the owner did not come out in time, and when that cannot be told:
// without the barrier the owner may be inside although its busy_ is not seen yet.
bool PeerHeap::send_owner_out(std::uint64_t patience_us) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::microseconds(patience_us);
  // seq_cst: pairs with PeerCache::bring_to_front, as empty_of does.
  wanted_.store(1, std::memory_order_seq_cst);
  if (owner_ == nullptr) return true;  // a thread needs others_ to become the owner
  owner_->empty_of(pool_);
  if (!barrier_everywhere()) return false;
  while (owner_->inside()) {
    if (patience_us != UINT64_MAX && Clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

bool PeerHeap::with_owner_out(std::uint64_t patience_us, const std::function<void(Heap&)>& work) {
  std::unique_lock lock(others_);
  if (patience_us == UINT64_MAX) resumed_.wait(lock, [this] { return !paused_; });
  if (closed_ || paused_) return false;
  const bool out = send_owner_out(patience_us);
  if (out) work(heap_);
  // release: pairs with the loads in enter, enter_slow and PeerCache::bring_to_front.
  wanted_.store(0, std::memory_order_release);
  return out;
}

void PeerHeap::pause() {
  const std::lock_guard lock(others_);
  if (closed_ || paused_) return;
  if (send_owner_out(UINT64_MAX)) heap_.publish();
  paused_ = true;
}

void PeerHeap::resume() {
  {
    const std::lock_guard lock(others_);
    if (!std::exchange(paused_, false)) return;
    wanted_.store(0, std::memory_order_release);  // as in with_owner_out
  }
  resumed_.notify_all();
}

void PeerHeap::close() {
  {
    const std::lock_guard lock(others_);
    if (closed_) return;
    // If the owner may be inside still, its gathered frees are left to the end of the session,
    // whose reaper finds them by their words.
    if (!paused_ && send_owner_out(UINT64_MAX)) heap_.publish();
    closed_ = true;
    paused_ = false;
  }
  resumed_.notify_all();
}

void PeerHeap::reopen() {
  const std::lock_guard lock(others_);
  if (!std::exchange(closed_, false)) return;
  wanted_.store(0, std::memory_order_release);  // as in with_owner_out
}

bool PeerHeap::used_since_last_look() {
  const std::lock_guard lock(others_);
  // The last look emptied the front. So a heap in front was used since, and so was a heap with
  // used_, which another heap may have displaced.
  const bool in_front = owner_ != nullptr && owner_->empty_of(pool_);
  return used_.exchange(false, std::memory_order_relaxed) || in_front;
}

bool PeerHeap::reserve(const RunShape& request, SlabIndex first) {
  if (has_reserved_) return false;
  reserved_ = request;
  reserved_run_ = first;
  has_reserved_ = true;
  return true;
}

void PeerHeap::drop_reserve() {
  if (std::exchange(has_reserved_, false)) stock_->give_back(reserved_run_, reserved_.units);
}

Result<SlabIndex> PeerHeap::Source::take(HeapId heap, const RunShape& request, SuperslabIndex) {
  SlabIndex run;
  if (heap_.has_reserved_ && heap_.reserved_ == request) {
    run = heap_.reserved_run_;
    heap_.has_reserved_ = false;
  } else if (const auto stocked = heap_.stock_->take(request)) {
    run = *stocked;
  } else {
    heap_.missing_ = request;
    return Error::kLeaseNeeded;
  }
  // The run may have been leased for another heap of the session.
  heap_.heap_.arena().prepare_run(run, heap, request);
  return run;
}

void PeerHeap::Source::give_back(HeapId, SlabIndex first, std::uint32_t units) {
  heap_.stock_->give_back(first, units);
}

}  // namespace arenad::client
