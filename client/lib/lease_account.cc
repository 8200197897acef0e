#include "client/lib/lease_account.h"

#include "allocator/base/crash_point.h"

namespace arenad::client {

Answer<std::uint64_t> LeaseAccount::enter(DaemonGate::Clock::time_point deadline) {
  std::uint64_t epoch = 0;
  Status given_up;
  const auto ready = [&] {
    epoch = epoch_.load(std::memory_order_relaxed);
    given_up = given_up_;
    return (!resuming_ && !detaching_) || !given_up.ok();
  };
  if (Status s = gate_.enter(deadline, ready); !s.ok()) return s;
  if (!given_up.ok()) return given_up;
  return epoch;
}

std::optional<std::uint64_t> LeaseAccount::drop(std::span<const SlabIndex> runs) {
  const auto epoch = enter(DaemonGate::Clock::now());
  CRASH_POINT("return.entered");
  const std::lock_guard lock(mutex_);
  for (const SlabIndex run : runs) leased_[run.value] = false;
  // If a resume has begun since, the daemon may take the runs back and lease them again before a
  // call made now arrives. Then no call is made.
  if (epoch.ok() && epoch_.load(std::memory_order_relaxed) == *epoch) return *epoch;
  return std::nullopt;
}

void LeaseAccount::begin_resume() {
  wants_resume_.store(false, std::memory_order_relaxed);
  gate_.update([this] {
    resuming_ = true;
    epoch_.fetch_add(1, std::memory_order_relaxed);
  });
  CRASH_POINT("resume.raised");
}

LeaseAccount::Part LeaseAccount::part(std::uint32_t first_unit, std::uint32_t end_unit) {
  Part part;
  const std::lock_guard lock(mutex_);
  part.epoch = epoch_.load(std::memory_order_relaxed);
  for (std::uint32_t unit = first_unit; unit < end_unit; ++unit)
    if (leased_[unit]) part.runs.push_back({unit});
  if (first_unit == 0) part.heaps = heaps_;
  CRASH_POINT("resume.named");
  return part;
}

void LeaseAccount::end_resume() {
  gate_.update([this] { resuming_ = false; });
}

std::uint64_t LeaseAccount::begin_detach() {
  detaches_.fetch_add(1, std::memory_order_relaxed);
  gate_.update([this] { detaching_ = true; });
  CRASH_POINT("detach.begun");
  return epoch_.load(std::memory_order_relaxed);
}

void LeaseAccount::end_detach(Detached outcome) {
  CRASH_POINT("detach.answered");
  if (outcome == Detached::kUnknown) want_resume();
  gate_.update([&] {
    detaching_ = outcome == Detached::kYes;
    resuming_ = resuming_ || outcome == Detached::kUnknown;
  });
}

void LeaseAccount::drop_all() {
  const std::lock_guard lock(mutex_);
  leased_.assign(leased_.size(), false);
  heaps_.clear();
}

void LeaseAccount::give_up(const Status& why) {
  gate_.update([&] { given_up_ = why; });
}

}  // namespace arenad::client
