#include "client/lib/peer_heap.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <thread>
#include <utility>

#include "client/lib/lease_stock.h"

namespace arenad::client {

constinit thread_local PeerCache peer_cache;

namespace {

// A full barrier in every thread of this process that runs now. Where the kernel does not offer the
// expedited one for a process (before 4.14), the slow one for the whole machine does the same.
void barrier_everywhere() {
  static const bool expedited =
      ::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
  ::syscall(SYS_membarrier, expedited ? MEMBARRIER_CMD_PRIVATE_EXPEDITED : MEMBARRIER_CMD_GLOBAL, 0,
            0);
}

bool same_run(const RunRequest& a, const RunRequest& b) {
  return a.kind == b.kind && a.cls == b.cls && a.units == b.units;
}

}  // namespace

PeerHeap* PeerCache::find(std::uint32_t pool) const {
  const Entry& e = entries_[pool % kEntries];
  return e.pool == pool ? e.heap : nullptr;
}

PeerHeap* PeerCache::enter_slow(std::uint32_t pool) {
  leave();
  PeerHeap* const heap = find(pool);
  if (heap == nullptr) return nullptr;
  bring_to_front(pool, heap);
  return heap->enter() ? heap : nullptr;
}

void PeerCache::put(std::uint32_t pool, PeerHeap* heap) {
  entries_[pool % kEntries] = {pool, heap};
  bring_to_front(pool, heap);
}

// Another stores wanted_ and then empties front_; here front_ is stored and then wanted_ loaded.
// All four are seq_cst: if the other did not find this front_ to empty, this sees its wanted_, and
// leaves the fast way closed.
void PeerCache::bring_to_front(std::uint32_t pool, PeerHeap* heap) {
  heap->used_.store(true, std::memory_order_relaxed);
  front_heap_ = heap;
  front_.store(pool, std::memory_order_seq_cst);
  if (heap->wanted_.load(std::memory_order_seq_cst) != 0)
    front_.store(kNone, std::memory_order_relaxed);
}

void PeerCache::clear() {
  front_.store(kNone, std::memory_order_relaxed);
  front_heap_ = nullptr;
  for (Entry& e : entries_) e = {};
}

PeerHeap::PeerHeap(arenad::Arena& arena, HeapId id, SessionId session, std::uint32_t pool,
                   std::shared_ptr<LeaseStock> stock)
    : heap_(arena, id, session, source_),
      untagged_(session, 0),
      id_(id),
      data_(arena.data()),
      geometry_(arena.geometry()),
      largest_class_(arena.geometry().largest_class_bytes()),
      span_overhead_(arena.geometry().layout().header_bytes +
                     arena.geometry().layout().canary_bytes),
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

std::uint64_t PeerHeap::span_usable_bytes(std::uint64_t size) const {
  return geometry_.span_units(size) * kSlabUnitBytes - span_overhead_;
}

bool PeerHeap::enter_slow() {
  for (;;) {
    peer_cache.leave();
    {
      const std::lock_guard wait_for_the_other(others_);
      if (closed_) return false;
    }
    peer_cache.go_inside();
    if (wanted_.load(std::memory_order_acquire) == 0) return true;
  }
}

// Under others_. False when the owner did not come out in time.
bool PeerHeap::send_owner_out(std::uint64_t patience_us) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::microseconds(patience_us);
  wanted_.store(1, std::memory_order_seq_cst);  // see bring_to_front
  if (owner_ == nullptr) return true;           // nobody becomes its owner without others_
  owner_->empty_of(pool_);
  barrier_everywhere();
  while (owner_->inside()) {
    if (patience_us != UINT64_MAX && Clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

bool PeerHeap::with_owner_out(std::uint64_t patience_us, const std::function<void(Heap&)>& work) {
  const std::lock_guard lock(others_);
  if (closed_) return false;
  const bool out = send_owner_out(patience_us);
  if (out) work(heap_);
  wanted_.store(0, std::memory_order_release);  // pairs with the loads of it in enter, enter_slow,
                                                // bring_to_front
  return out;
}

void PeerHeap::close() {
  const std::lock_guard lock(others_);
  if (closed_) return;
  send_owner_out(UINT64_MAX);
  heap_.publish();
  closed_ = true;
}

bool PeerHeap::used_since_last_look() {
  const std::lock_guard lock(others_);
  // In front: it came there since the last look. used_: it did, and others have displaced it.
  const bool in_front = owner_ != nullptr && owner_->empty_of(pool_);
  return used_.exchange(false, std::memory_order_relaxed) || in_front;
}

bool PeerHeap::reserve(const RunRequest& request, SlabIndex first) {
  if (has_reserved_) return false;
  reserved_ = request;
  reserved_run_ = first;
  has_reserved_ = true;
  return true;
}

void PeerHeap::drop_reserve() {
  if (std::exchange(has_reserved_, false)) stock_->give_back(reserved_run_, reserved_.units);
}

Result<SlabIndex> PeerHeap::Source::take(HeapId heap, const RunRequest& request, SuperslabIndex) {
  SlabIndex run;
  if (of.has_reserved_ && same_run(of.reserved_, request)) {
    run = of.reserved_run_;
    of.has_reserved_ = false;
  } else if (const auto stocked = of.stock_->take(request)) {
    run = *stocked;
  } else {
    of.missing_ = request;
    return stocked.error();
  }
  of.heap_.arena().prepare_run(run, heap,
                               request);  // it may have been leased for another heap of the session
  return run;
}

void PeerHeap::Source::give_back(HeapId, SlabIndex first, std::uint32_t units) {
  of.stock_->give_back(first, units);
}

}  // namespace arenad::client
