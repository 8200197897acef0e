#include "client/lib/lease_thread.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <system_error>
#include <utility>

namespace arenad::client {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kTick{100};
constexpr std::chrono::milliseconds kSlowestTick{400};

}  // namespace

Status LeaseThread::add(std::shared_ptr<PeerPool> pool) {
  {
    const std::lock_guard lock(mutex_);
    pools_.push_back(std::move(pool));
    if (thread_.joinable()) return {};
    try {
      thread_ = std::thread([this] { run(); });
    } catch (const std::system_error& error) {
      pools_.pop_back();
      return {Code::kResourceExhausted, Error::kNone,
              std::string("no thread to lease ahead: ") + error.what() +
                  "; raise the limit of threads (ulimit -u)"};
    }
  }
  return {};
}

void LeaseThread::remove(const PeerPool& pool) {
  const std::lock_guard lock(mutex_);
  std::erase_if(pools_, [&](const auto& kept) { return kept.get() == &pool; });
}

void LeaseThread::wake() {
  {
    const std::lock_guard lock(mutex_);
    woken_ = true;
  }
  changed_.notify_one();
}

void LeaseThread::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void LeaseThread::run() {
  auto interval = kTick;
  auto next_tick = Clock::now() + interval;
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    changed_.wait_until(lock, next_tick, [this] { return stopping_ || woken_; });
    if (stopping_) return;
    const bool woken = std::exchange(woken_, false);
    const auto pools = pools_;
    lock.unlock();
    if (woken) {
      // A thread leases, so the heaps are in use: look at them soon.
      interval = kTick;
      next_tick = std::min(next_tick, Clock::now() + interval);
      for (const auto& pool : pools) pool->lease_ahead();
    }
    if (Clock::now() >= next_tick) {
      bool busy = false;
      for (const auto& pool : pools) {
        busy = pool->tick() || busy;
        pool->lease_ahead();
      }
      mend_();
      interval = busy ? kTick : std::min(interval * 2, kSlowestTick);
      next_tick = Clock::now() + interval;
    }
    lock.lock();
  }
}

}  // namespace arenad::client
