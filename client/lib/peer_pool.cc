#include "client/lib/peer_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <utility>

#include "client/lib/fork_guard.h"
#include "client/lib/thread_heaps.h"

namespace arenad::client {
namespace {

// An owner is inside for nanoseconds. When it does not come out, its thread does not run.
constexpr std::uint64_t kTrimPatienceUs = 5'000;
constexpr std::uint64_t kTickPatienceUs = 1'000;
// Three ticks in a heap whose thread sleeps: the first publishes, the second flushes, the third
// returns what the flush left.
constexpr std::uint32_t kQuietTicks = 3;
// Operations of a batch before other threads get a chance to enter the heap.
constexpr std::size_t kInsideAtOnce = 1024;

// How long a thread that got no heap works in those of others before it asks again.
constexpr std::int64_t kAskAgainNs = 1'000'000'000;

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

PoolId next_pool_id() {
  static constinit std::atomic<std::uint32_t> last{0};  // relaxed: the ids only have to differ
  for (;;) {
    const PoolId id{last.fetch_add(1, std::memory_order_relaxed) + 1};
    // 0 is no pool; the largest number marks an empty cache entry.
    if (id != kNoPool && id.value != UINT32_MAX) return id;
  }
}

}  // namespace

PeerPool::PeerPool(std::unique_ptr<arenad::PeerArena> arena, SessionId session,
                   std::unique_ptr<LeaseCalls> calls, std::function<void()> wake_lease_thread)
    : id_(next_pool_id()),
      session_(session),
      arena_(std::move(arena)),
      stock_(std::make_shared<LeaseStock>(arena_->geometry(), arena_->unit_count(),
                                          std::move(calls), std::move(wake_lease_thread))) {}

PeerPool::~PeerPool() = default;

Answer<PeerPool::Seat> PeerPool::seat() {
  const auto mine = heap_of_thread();
  if (mine) return Seat{*mine, true};
  if (forked()) return forked_status();
  // Threads spread over the heaps. relaxed, without a partner: the numbers only have to differ.
  static constinit std::atomic<std::size_t> threads{0};
  thread_local const std::size_t number = threads.fetch_add(1, std::memory_order_relaxed);
  std::unique_lock lock(mutex_);
  // Another thread may be just getting the first heap.
  changed_.wait(lock, [this] { return !heaps_.empty() || opening_ == 0; });
  if (heaps_.empty()) return mine.error();
  return Seat{heaps_[number % heaps_.size()].heap.get(), false};
}

template <class Work>
bool PeerPool::work_in(const Seat& seat, Work work) {
  if (!seat.own) return seat.heap->with_owner_out(UINT64_MAX, [&](Heap&) { work(); });
  if (!seat.heap->enter()) return false;
  work();
  seat.heap->leave();
  return true;
}

Answer<PeerHeap*> PeerPool::heap_of_thread() {
  if (PeerHeap* const heap = peer_cache.find(id_)) return heap;
  if (forked()) return forked_status();
  ThreadHeaps* const mine = ThreadHeaps::mine();
  if (mine == nullptr) return Status{Code::kUnavailable, Error::kNone, "this thread is ending"};
  PeerHeap* heap = mine->find(id_);
  if (heap == nullptr) {
    const auto got = idle_or_new_heap();
    if (!got) return got.error();
    heap = *got;
    heap->be_mine();
    mine->add(shared_from_this(), *heap);
  }
  peer_cache.put(id_, *heap);
  return heap;
}

Answer<PeerHeap*> PeerPool::idle_or_new_heap() {
  {
    std::unique_lock lock(mutex_);
    if (Status s = await_open(lock); !s.ok()) return s;
    if (!idle_.empty()) {
      PeerHeap* const heap = idle_.back();
      idle_.pop_back();
      return heap;
    }
    ++opening_;
  }
  auto heap = new_heap();
  {
    const std::lock_guard lock(mutex_);
    --opening_;
  }
  changed_.notify_all();
  return heap;
}

Answer<PeerHeap*> PeerPool::new_heap() {
  if (now_ns() < ask_again_ns_.load(std::memory_order_relaxed))
    return Status{Code::kResourceExhausted, Error::kQuotaUser, "the daemon gave no heap just now"};
  const auto id = stock_->open_heap();
  if (!id) {
    const Error reason = id.error().reason;
    if (reason == Error::kQuotaUser || reason == Error::kQuotaDaemon)
      ask_again_ns_.store(now_ns() + kAskAgainNs, std::memory_order_relaxed);
    return id.error();
  }
  auto fresh = std::make_unique<PeerHeap>(*arena_, *id, session_, id_, stock_);
  PeerHeap* const heap = fresh.get();
  std::unique_lock lock(mutex_);
  if (Status s = await_open(lock); !s.ok()) return s;
  heaps_.push_back({std::move(fresh)});
  return heap;
}

Status PeerPool::await_open(std::unique_lock<std::mutex>& lock) {
  changed_.wait(lock, [this] { return state_ != State::kPaused; });
  return refuses() ? why_closed_ : Status{};
}

void PeerPool::thread_ended(PeerHeap& heap) {
  if (heap.enter()) {
    heap.heap().publish();
    heap.leave();
  }
  heap.be_nobodys();
  const std::lock_guard lock(mutex_);
  idle_.push_back(&heap);
}

Status PeerPool::why_closed() const {
  const std::lock_guard lock(mutex_);
  if (refuses()) return why_closed_;
  return {Code::kUnavailable, Error::kNone,
          "no heap of this process let the thread in; end some threads, or try again"};
}

Status PeerPool::refusal(Error error, std::uint64_t size_bytes, std::uint32_t align_bytes) const {
  std::string text = "a block of " + std::to_string(size_bytes) + " bytes";
  if (align_bytes != 0) text += " aligned to " + std::to_string(align_bytes);
  if (error == Error::kQuarantined) text += ": " + arena_->quarantine_reason();
  return {static_cast<Code>(error_code(error)), error, text + ": " + error_advice(error)};
}

Status PeerPool::allocate(std::uint64_t size_bytes, const AllocateOptions& options,
                          bool for_a_block, AllocatedBlock& out) {
  const auto mine = seat();
  if (!mine) return mine.error();
  PeerHeap& heap = *mine->heap;
  const arenad::Holder holder(session_, options.tag);
  for (Status refused;;) {
    Result<Allocation> got = Error::kInternal;
    RunShape missing;
    const auto try_once = [&] {
      // The daemon refused a lease. Before the allocation fails, the heap looks at all its returned
      // words, pending or not, and gives up the free blocks of other classes.
      if (!refused.ok()) heap.heap().trim();
      got = options.align_bytes == 0
                ? heap.heap().allocate(size_bytes, holder)
                : heap.heap().allocate_aligned(size_bytes, options.align_bytes, holder);
      missing = heap.missing();
      if (got.ok() && for_a_block) heap.made_block();
    };
    if (!work_in(*mine, try_once)) return why_closed();
    if (got.ok()) {
      std::uint64_t usable = heap.usable_bytes(size_bytes);
      if (options.align_bytes != 0) usable = arena_->describe({got->ref.value}).usable_bytes;
      out = {got->ref, got->offset, usable};
      return {};
    }
    if (got.error() != Error::kLeaseNeeded)
      return refusal(got.error(), size_bytes, options.align_bytes);
    if (!refused.ok()) return refused;
    refused = supply(*mine, missing, options.wait_ms);
  }
}

Status PeerPool::supply(const Seat& seat, const RunShape& missing, std::uint32_t wait_ms) {
  PeerHeap& heap = *seat.heap;
  auto run = stock_->fetch(heap.id(), missing, wait_ms);
  if (!run &&
      (run.error().reason == Error::kQuotaSession || run.error().reason == Error::kQuotaUser)) {
    // Leases that the session does not use count against these quotas, too. (When the arena is
    // full, the daemon asks for them.)
    trim();
    run = stock_->fetch(heap.id(), missing, wait_ms);
  }
  if (!run) return run.error();
  const auto set_aside = [&] {
    // A run may be set aside still, when the last allocation found a block elsewhere. It must make
    // room: the stock does not offer a span again that it takes back.
    heap.drop_reserve();
    (void)heap.reserve(missing, *run);
  };
  return work_in(seat, set_aside) ? Status{} : why_closed();
}

Error PeerPool::free(PeerHeap& heap, Ref ref) const {
  return holder_only() ? free_if_held(heap, ref) : heap.heap().free(ref);
}

Error PeerPool::free_if_held(PeerHeap& heap, Ref ref) const {
  return heap.heap().free_checked({ref.value}, session_, session_).error;
}

Status PeerPool::for_each_inside(std::size_t count,
                                 const std::function<void(PeerHeap&, std::size_t)>& work) {
  const auto mine = seat();
  if (!mine) return mine.error();
  for (std::size_t i = 0; i < count;) {
    const auto some = [&] {
      for (const std::size_t end = std::min(count, i + kInsideAtOnce); i < end; ++i)
        work(*mine->heap, i);
    };
    if (!work_in(*mine, some)) return why_closed();
  }
  return {};
}

Status PeerPool::inside(const std::function<void(PeerHeap&)>& work) {
  const auto mine = seat();
  if (!mine) return mine.error();
  return work_in(*mine, [&] { work(*mine->heap); }) ? Status{} : why_closed();
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

std::int64_t PeerPool::close(const Status& why) { return shut(State::kClosed, why); }

std::int64_t PeerPool::suspend(const Status& why) { return shut(State::kSuspended, why); }

std::int64_t PeerPool::shut(State state, const Status& why) {
  const std::lock_guard alone(shutting_);
  {
    const std::lock_guard lock(mutex_);
    if (state_ == State::kClosed) return 0;
    state_ = state;
    why_closed_ = why;
  }
  changed_.notify_all();
  std::int64_t blocks = 0;
  for (PeerHeap* const heap : all_heaps()) {  // none is added any more
    heap->close();
    blocks += heap->take_blocks();
  }
  return blocks;
}

void PeerPool::pause() {
  const std::lock_guard alone(shutting_);
  {
    const std::lock_guard lock(mutex_);
    if (state_ != State::kOpen) return;
    state_ = State::kPaused;
  }
  for (PeerHeap* const heap : all_heaps()) heap->pause();  // none is added any more
}

void PeerPool::resume() {
  const std::lock_guard alone(shutting_);
  {
    const std::lock_guard lock(mutex_);
    if (state_ != State::kPaused) return;
    state_ = State::kOpen;
  }
  changed_.notify_all();
  for (PeerHeap* const heap : all_heaps()) heap->resume();
}

void PeerPool::reopen() {
  const std::lock_guard alone(shutting_);
  {
    const std::lock_guard lock(mutex_);
    if (state_ != State::kSuspended) return;
    state_ = State::kOpen;
  }
  for (PeerHeap* const heap : all_heaps()) heap->reopen();
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
    if (state_ != State::kOpen || heaps_.empty()) return;
    any = heaps_.front().heap.get();
  }
  stock_->fill_ahead(any->id());
}

std::uint32_t PeerPool::count_quiet_tick(std::size_t heap, bool used) {
  const std::lock_guard lock(mutex_);
  std::uint32_t& quiet = heaps_[heap].quiet_ticks;
  quiet = used ? 0 : std::min(quiet + 1, kQuietTicks + 1);
  return quiet;
}

bool PeerPool::tick() {
  bool busy = false;
  const std::vector<PeerHeap*> heaps = all_heaps();
  for (std::size_t i = 0; i < heaps.size(); ++i) {
    const std::uint32_t quiet = count_quiet_tick(i, heaps[i]->used_since_last_look());
    busy = busy || quiet <= kQuietTicks;
    // A thread at work drains and publishes by itself.
    if (quiet == 0) continue;
    // After kQuietTicks a tick enters the heap only when others freed blocks of it.
    if (quiet > kQuietTicks && !heaps[i]->has_pending()) continue;
    heaps[i]->with_owner_out(kTickPatienceUs, [&](Heap& h) {
      h.idle_tick();
      heaps[i]->drop_reserve();
    });
    busy = true;
  }
  stock_->tick();
  return busy || !stock_->empty();
}

}  // namespace arenad::client
