#include "client/lib/peer_pool.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <string>
#include <utility>

#include "client/lib/fork_guard.h"

namespace arenad::client {
namespace {

constexpr std::uint64_t kTrimPatienceUs =
    5'000;  // an owner is inside for nanoseconds, or its thread does not run
constexpr std::uint64_t kTickPatienceUs = 1'000;
constexpr std::uint32_t kQuietTicks =
    3;  // the first publishes, the second flushes, the third returns what that left
constexpr std::size_t kInsideAtOnce = 1024;  // operations before others get a chance to come in

std::uint32_t next_pool_id() {
  static constinit std::atomic<std::uint32_t> last{0};
  for (;;) {
    const std::uint32_t id = last.fetch_add(1, std::memory_order_relaxed) + 1;
    if (id != 0 && id != UINT32_MAX) return id;  // no pool, and the empty cache entry
  }
}

// Whether this thread's ThreadHeaps is gone already: thread_local destructors that run later may
// still free blocks.
constinit thread_local bool thread_is_ending = false;

}  // namespace

// The heaps that a thread has in all pools; gives them back when the thread ends.
struct ThreadHeaps {
  struct Entry {
    std::uint32_t pool_id;
    std::weak_ptr<PeerPool> pool;
    PeerHeap* heap;
  };
  std::vector<Entry> entries;

  static ThreadHeaps& mine() {
    static thread_local ThreadHeaps heaps;
    return heaps;
  }
  PeerHeap* find(std::uint32_t pool) const {
    for (const Entry& e : entries)
      if (e.pool_id == pool) return e.heap;
    return nullptr;
  }
  void add(const std::shared_ptr<PeerPool>& pool, PeerHeap* heap) {
    std::erase_if(entries, [](const Entry& e) { return e.pool.expired(); });
    entries.push_back({pool->id(), pool, heap});
  }
  ~ThreadHeaps() {
    thread_is_ending = true;
    if (forked()) return;
    peer_cache.clear();
    for (const Entry& e : entries)
      if (const auto pool = e.pool.lock()) pool->thread_ended(e.heap);
  }
};

Status ref_refusal(Error error, Ref ref) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(),
                "ref 0x%016llx: ", static_cast<unsigned long long>(ref.value));
  return {static_cast<Code>(error_code(error)), error,
          std::string(text.data()) + error_advice(error)};
}

PeerPool::PeerPool(std::unique_ptr<arenad::Arena> arena, SessionId session,
                   std::unique_ptr<LeaseCalls> calls, std::function<void()> wake_lease_thread)
    : id_(next_pool_id()),
      session_(session),
      arena_(std::move(arena)),
      stock_(std::make_shared<LeaseStock>(arena_->geometry(), arena_->unit_count(),
                                          std::move(calls), std::move(wake_lease_thread))) {}

PeerPool::~PeerPool() = default;

Answer<PeerHeap*> PeerPool::heap_of_thread() {
  if (PeerHeap* const heap = peer_cache.find(id_)) return heap;
  if (forked()) return forked_status();
  if (thread_is_ending) return Status{Code::kUnavailable, Error::kNone, "this thread is ending"};
  ThreadHeaps& mine = ThreadHeaps::mine();
  PeerHeap* heap = mine.find(id_);
  if (heap == nullptr) {
    const auto got = adopt_or_open();
    if (!got) return got.error();
    heap = *got;
    heap->be_mine();
    mine.add(shared_from_this(), heap);
  }
  peer_cache.put(id_, heap);
  return heap;
}

Answer<PeerHeap*> PeerPool::adopt_or_open() {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return why_closed_;
    if (!idle_.empty()) {
      PeerHeap* const heap = idle_.back();
      idle_.pop_back();
      return heap;
    }
  }
  const auto id = stock_->open_heap();
  if (!id) return id.error();
  auto fresh = std::make_unique<PeerHeap>(*arena_, *id, session_, id_, stock_);
  PeerHeap* const heap = fresh.get();
  const std::lock_guard lock(mutex_);
  if (closed_) return why_closed_;
  heaps_.push_back({std::move(fresh)});
  return heap;
}

void PeerPool::thread_ended(PeerHeap* heap) {
  if (heap->enter()) {
    heap->heap().publish();
    heap->leave();
  }
  heap->be_nobodys();
  const std::lock_guard lock(mutex_);
  idle_.push_back(heap);
}

Status PeerPool::why_closed() const {
  const std::lock_guard lock(mutex_);
  return why_closed_;
}

Status PeerPool::refusal(Error error, std::uint64_t size, std::uint32_t align) const {
  std::string text = "a block of " + std::to_string(size) + " bytes";
  if (align != 0) text += " aligned to " + std::to_string(align);
  if (error == Error::kQuarantined) text += ": " + arena_->quarantine_reason();
  return {static_cast<Code>(error_code(error)), error, text + ": " + error_advice(error)};
}

Status PeerPool::allocate(std::uint64_t size, const AllocateOptions& options, bool counted,
                          AllocatedBlock& out) {
  const auto mine = heap_of_thread();
  if (!mine) return mine.error();
  PeerHeap& heap = **mine;
  const arenad::Holder holder(session_, options.tag);
  for (Status refused;;) {
    if (!heap.enter()) return why_closed();
    // Before it fails a heap looks at all its returned words, pending or not, and gives up what
    // other classes keep.
    if (!refused.ok()) heap.heap().trim();
    const auto got = options.align_bytes == 0
                         ? heap.heap().allocate(size, holder)
                         : heap.heap().allocate_aligned(size, options.align_bytes, holder);
    const RunRequest missing = heap.missing();
    if (got.ok() && counted) heap.made_block();
    heap.leave();
    if (got.ok()) {
      std::uint64_t usable = heap.usable_bytes(size);
      if (options.align_bytes != 0) usable = arena_->describe({got->ref.value}).usable_bytes;
      out = {got->ref, got->offset, usable};
      return {};
    }
    if (got.error() != Error::kLeaseNeeded) return refusal(got.error(), size, options.align_bytes);
    if (!refused.ok()) return refused;
    refused = supply(heap, missing, options.wait_ms);
  }
}

Status PeerPool::supply(PeerHeap& heap, const RunRequest& missing, std::uint32_t wait_ms) {
  auto run = stock_->fetch(heap.id(), missing, wait_ms);
  if (!run && run.error().reason == Error::kQuotaSession) {
    // What the session has leased and does not use counts too. (In a full arena the daemon asks for
    // it.)
    trim();
    run = stock_->fetch(heap.id(), missing, wait_ms);
  }
  if (!run) return run.error();
  if (!heap.enter()) return why_closed();
  heap.drop_reserve();  // of an allocation that found another way: a span that the stock takes back
                        // is not offered again
  (void)heap.reserve(missing, *run);
  heap.leave();
  return {};
}

Error PeerPool::free(PeerHeap& heap, Ref ref) const {
  if (!holder_only()) return heap.heap().free(ref);
  return heap.heap().free_checked({ref.value}, session_, session_).error;
}

Status PeerPool::for_each_inside(std::size_t count,
                                 const std::function<void(PeerHeap&, std::size_t)>& work) {
  const auto mine = heap_of_thread();
  if (!mine) return mine.error();
  PeerHeap& heap = **mine;
  for (std::size_t i = 0; i < count;) {
    if (!heap.enter()) return why_closed();
    for (const std::size_t end = std::min(count, i + kInsideAtOnce); i < end; ++i) work(heap, i);
    heap.leave();
  }
  return {};
}

Status PeerPool::inside(const std::function<void(PeerHeap&)>& work) {
  const auto mine = heap_of_thread();
  if (mine) {
    if (!(*mine)->enter()) return why_closed();
    work(**mine);
    (*mine)->leave();
    return {};
  }
  if (forked()) return forked_status();
  for (PeerHeap* const heap : all_heaps())
    if (heap->with_owner_out(UINT64_MAX, [&](Heap&) { work(*heap); })) return {};
  return mine.error();
}

std::vector<PeerHeap*> PeerPool::all_heaps() const {
  const std::lock_guard lock(mutex_);
  std::vector<PeerHeap*> all;
  for (const HeapState& state : heaps_) all.push_back(state.heap.get());
  return all;
}

std::size_t PeerPool::heap_count() const {
  const std::lock_guard lock(mutex_);
  return heaps_.size();
}

std::int64_t PeerPool::close(const Status& why) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return 0;
    closed_ = true;
    why_closed_ = why;
  }
  std::int64_t blocks = 0;
  for (PeerHeap* const heap : all_heaps()) {  // nothing is added any more
    heap->close();
    blocks += heap->blocks();
  }
  return blocks;
}

void PeerPool::trim() {
  for (PeerHeap* const heap : all_heaps())
    heap->with_owner_out(kTrimPatienceUs, [](Heap& h) { h.trim(); });
  stock_->return_all();
}

void PeerPool::lease_ahead() {
  stock_->return_surplus();
  PeerHeap* any = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (closed_ || heaps_.empty()) return;
    any = heaps_.front().heap.get();
  }
  stock_->fill_ahead(any->id());
}

bool PeerPool::tick() {
  bool busy = false;
  const std::vector<PeerHeap*> heaps = all_heaps();
  for (std::size_t i = 0; i < heaps.size(); ++i) {
    std::uint32_t quiet = 0;
    if (!heaps[i]->used_since_last_look()) {
      const std::lock_guard lock(mutex_);
      quiet = heaps_[i].quiet_ticks = std::min(heaps_[i].quiet_ticks + 1, kQuietTicks + 1);
    } else {
      const std::lock_guard lock(mutex_);
      heaps_[i].quiet_ticks = 0;
    }
    busy = busy || quiet <= kQuietTicks;
    // A thread at work drains and publishes by itself. Whether others freed something of a sleeping
    // one's is read without entering.
    if (quiet != 0 && (quiet <= kQuietTicks || heaps[i]->has_pending())) {
      heaps[i]->with_owner_out(kTickPatienceUs, [&](Heap& h) {
        h.idle_tick();
        heaps[i]->drop_reserve();
      });
      busy = true;
    }
  }
  stock_->tick();
  return busy || !stock_->empty();
}

}  // namespace arenad::client
