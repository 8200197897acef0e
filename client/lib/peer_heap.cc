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

// A full barrier in every thread of this process that runs now. Where the kernel does not offer the expedited one for a
// process (before 4.14), the slow one for the whole machine does the same.
void barrier_everywhere() {
  static const bool expedited = ::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
  ::syscall(SYS_membarrier, expedited ? MEMBARRIER_CMD_PRIVATE_EXPEDITED : MEMBARRIER_CMD_GLOBAL, 0, 0);
}

bool same_run(const RunRequest& a, const RunRequest& b) { return a.kind == b.kind && a.cls == b.cls && a.units == b.units; }

}  // namespace

PeerHeap* PeerCache::find_slow(std::uint32_t pool) {
  const Entry& e = entries_[pool % kEntries];
  if (e.pool != pool) return nullptr;
  recent_ = e;
  return e.heap;
}

PeerHeap::PeerHeap(arenad::Arena& arena, HeapId id, SessionId session, std::shared_ptr<LeaseStock> stock)
    : untagged_(session, 0),
      heap_(arena, id, session, source_),
      id_(id),
      data_(arena.data()),
      geometry_(arena.geometry()),
      largest_class_(arena.geometry().largest_class_bytes()),
      span_overhead_(arena.geometry().layout().header_bytes + arena.geometry().layout().canary_bytes),
      stock_(std::move(stock)) {}

std::uint64_t PeerHeap::span_usable_bytes(std::uint64_t size) const {
  return geometry_.span_units(size) * kSlabUnitBytes - span_overhead_;
}

bool PeerHeap::enter_slow() {
  for (;;) {
    busy_.store(kUsed, std::memory_order_release);
    {
      const std::lock_guard wait_for_the_other(others_);
      if (closed_) return false;
    }
    busy_.store(kInside, std::memory_order_relaxed);
    // The mutex is no full barrier for what comes after it; this path can afford one.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (wanted_.load(std::memory_order_acquire) == 0) return true;
  }
}

bool PeerHeap::wait_for_owner(std::uint64_t patience_us) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::microseconds(patience_us);
  while (busy_.load(std::memory_order_acquire) == kInside) {
    if (patience_us != UINT64_MAX && Clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

bool PeerHeap::with_owner_out(std::uint64_t patience_us, const std::function<void(Heap&)>& work) {
  const std::lock_guard lock(others_);
  if (closed_) return false;
  wanted_.store(1, std::memory_order_relaxed);
  barrier_everywhere();
  const bool out = wait_for_owner(patience_us);
  if (out) work(heap_);
  wanted_.store(0, std::memory_order_release);   // pairs with the acquire in enter
  return out;
}

void PeerHeap::close() {
  const std::lock_guard lock(others_);
  if (closed_) return;
  wanted_.store(1, std::memory_order_relaxed);
  barrier_everywhere();
  wait_for_owner(UINT64_MAX);
  heap_.publish();
  closed_ = true;
}

bool PeerHeap::used_since_last_look() {
  std::uint32_t seen = busy_.load(std::memory_order_relaxed);
  // The owner's plain stores and this exchange do not disturb each other: when it comes in between, the exchange fails.
  if (seen == kUsed) busy_.compare_exchange_strong(seen, kIdle, std::memory_order_acq_rel, std::memory_order_relaxed);
  return seen != kIdle;
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
  of.heap_.arena().prepare_run(run, heap, request);   // it may have been leased for another heap of the session
  return run;
}

void PeerHeap::Source::give_back(HeapId, SlabIndex first, std::uint32_t units) { of.stock_->give_back(first, units); }

}  // namespace arenad::client
