#include "client/lib/lease_stock.h"

#include <algorithm>
#include <span>
#include <utility>

namespace arenad::client {
namespace {

constexpr std::uint64_t kMostAheadBytes = 8 << 20;           // per class
constexpr std::uint64_t kSurplusUnits = kUnitsPerSuperslab;  // returned without waiting for a tick
constexpr std::uint32_t kTicksPerReturn = 5;
constexpr std::size_t kRunsPerReturn = 4096;  // in one call; the daemon takes 16384

}  // namespace

LeaseStock::LeaseStock(const Geometry& geometry, std::uint32_t unit_count,
                       std::unique_ptr<LeaseCalls> calls, std::function<void()> wake_lease_thread)
    : geometry_(geometry),
      unit_count_(unit_count),
      calls_(std::move(calls)),
      wake_lease_thread_(std::move(wake_lease_thread)),
      class_of_run_(unit_count) {}

std::uint32_t LeaseStock::most_ahead(std::uint32_t units) const {
  // In a small arena: at most an eighth of the arena.
  const std::uint64_t bytes = std::min(kMostAheadBytes, bytes_of_units(unit_count_) / 8);
  return static_cast<std::uint32_t>(std::max<std::uint64_t>(bytes / bytes_of_units(units), 1));
}

SlabIndex LeaseStock::pop(ClassStock& c) {
  const SlabIndex run = c.runs.back();
  c.runs.pop_back();
  ++c.grown;
  c.least = std::min(c.least, static_cast<std::uint32_t>(c.runs.size()));
  return run;
}

Result<SlabIndex> LeaseStock::take(const RunShape& request) {
  if (request.kind != SlabKind::kSlab) return Error::kLeaseNeeded;
  SlabIndex run;
  bool low = false;
  {
    const std::lock_guard lock(mutex_);
    ClassStock& c = stock_of(request.cls);
    if (c.runs.empty()) {
      c.dry = true;
      return Error::kLeaseNeeded;
    }
    run = pop(c);
    low = c.runs.size() < c.target / 2 && !c.fetching && !std::exchange(woken_, true);
  }
  if (low) wake_lease_thread_();
  return run;
}

void LeaseStock::add_surplus(SlabIndex run, std::uint32_t units) {
  class_of_run_[run.value] = {};
  surplus_.push_back(run);
  surplus_units_ += units;
}

void LeaseStock::give_back(SlabIndex run, std::uint32_t units) {
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    const LeasedClass what = class_of_run_[run.value];
    if (!what.leased) return;
    const ClassId cls{what.class_number};
    if (cls == kSpanClass ||
        (stock_of(cls).runs.size() >= most_ahead(units) && calls_->reachable())) {
      add_surplus(run, units);
    } else {
      stock_of(cls).runs.push_back(run);
      --stock_of(cls).grown;
    }
    wake = surplus_units_ >= kSurplusUnits && !std::exchange(woken_, true);
  }
  if (wake) wake_lease_thread_();
}

// Puts runs[from..] into the stock, so that heaps take them in their order.
void LeaseStock::put(ClassStock& c, const std::vector<SlabIndex>& runs, std::size_t from) {
  for (std::size_t i = runs.size(); i > from; --i) c.runs.push_back(runs[i - 1]);
}

Answer<SlabIndex> LeaseStock::lease_one(HeapId heap, const RunShape& request,
                                        std::uint32_t wait_ms) {
  std::vector<SlabIndex> runs;
  if (Status s = calls_->lease(heap, request, 1, wait_ms, LeaseCalls::Patience::kThread, runs);
      !s.ok())
    return s;
  const std::lock_guard lock(mutex_);
  note_leased(runs, request.cls);
  return runs.front();
}

Answer<SlabIndex> LeaseStock::fetch(HeapId heap, const RunShape& request, std::uint32_t wait_ms) {
  if (request.kind != SlabKind::kSlab) return lease_one(heap, request, wait_ms);
  ClassStock& c = stock_of(request.cls);
  std::uint32_t count = 1;
  {
    std::unique_lock lock(mutex_);
    // A call of another thread may bring a run for this thread.
    changed_.wait(lock, [&] { return !c.runs.empty() || !c.fetching; });
    if (!c.runs.empty()) return pop(c);
    c.fetching = true;
    c.dry = false;
    count = c.target = std::clamp(c.target * 2, 1u, most_ahead(request.units));
  }
  std::vector<SlabIndex> runs;
  Status status = calls_->lease(heap, request, count, 0, LeaseCalls::Patience::kThread, runs);
  {
    const std::lock_guard lock(mutex_);
    c.fetching = false;
    note_leased(runs, request.cls);
    if (status.ok()) {
      put(c, runs, 1);
      ++c.grown;
      c.least = 0;
    } else {
      c.target = 0;
    }
  }
  changed_.notify_all();
  if (status.ok()) return runs.front();
  if (status.reason != Error::kArenaFull || wait_ms == 0) return status;
  return lease_one(heap, request, wait_ms);
}

void LeaseStock::fill_ahead(HeapId heap) {
  for (const ClassId cls : geometry_.classes()) {
    const SizeClass& sc = geometry_.size_class(cls);
    ClassStock& c = stock_of(cls);
    std::uint32_t count = 0;
    {
      const std::lock_guard lock(mutex_);
      woken_ = false;
      if (c.fetching || c.runs.size() >= (c.target + 1) / 2) continue;
      if (std::exchange(c.dry, false)) c.target = std::min(c.target * 2, most_ahead(sc.slab_units));
      count = c.target - static_cast<std::uint32_t>(c.runs.size());
      c.fetching = true;
    }
    std::vector<SlabIndex> runs;
    const RunShape request = geometry_.slab_shape(cls);
    const Status status =
        calls_->lease(heap, request, count, 0, LeaseCalls::Patience::kLeaseThread, runs);
    {
      const std::lock_guard lock(mutex_);
      c.fetching = false;
      if (!status.ok())
        c.target = 0;  // lease no more until a heap runs dry: each lease makes other peers trim
      note_leased(runs, cls);
      put(c, runs, 0);
    }
    changed_.notify_all();
  }
}

void LeaseStock::return_surplus() {
  if (!calls_->reachable()) return;
  std::vector<SlabIndex> runs;
  {
    const std::lock_guard lock(mutex_);
    woken_ = false;
    runs.swap(surplus_);
    surplus_units_ = 0;
  }
  for (std::size_t i = 0; i < runs.size(); i += kRunsPerReturn)
    calls_->give_back(std::span(runs).subspan(i, std::min(kRunsPerReturn, runs.size() - i)));
}

void LeaseStock::tick() {
  if (!calls_->reachable()) return;
  const std::lock_guard lock(mutex_);
  const bool returning = ++ticks_ % kTicksPerReturn == 0;
  for (ClassStock& c : classes_) {
    if (std::exchange(c.grown, 0) <= 0) c.target /= 2;
    if (!returning) continue;
    const auto count = static_cast<std::uint32_t>(c.runs.size());
    // The oldest runs go. The runs that were given back last are warm in the caches.
    const std::uint32_t unneeded = (std::min(c.least, count) + 1) / 2;
    for (std::uint32_t i = 0; i < unneeded; ++i)
      add_surplus(c.runs[i], 0);  // 0 units: the lease thread returns it after this tick anyway
    c.runs.erase(c.runs.begin(), c.runs.begin() + unneeded);
    c.least = count - unneeded;
  }
}

std::size_t LeaseStock::return_all() {
  if (!calls_->reachable()) return 0;
  std::size_t count = 0;
  {
    const std::lock_guard lock(mutex_);
    for (ClassStock& c : classes_) {
      for (const SlabIndex run : c.runs) add_surplus(run, 0);
      c.runs.clear();
      c.target = c.least = 0;
    }
    count = surplus_.size();
  }
  return_surplus();
  return count;
}

bool LeaseStock::empty() const {
  const std::lock_guard lock(mutex_);
  return surplus_.empty() && std::all_of(classes_.begin(), classes_.end(), [](const ClassStock& c) {
           return c.runs.empty() && c.target == 0;
         });
}

}  // namespace arenad::client
