// ThreadLoop: drives one shard the way the gRPC loop does, with an eventfd for its waker.
//
// Threads: the test makes and ends it; any thread may call run().
// Crash: a test's.
#pragma once

#include <poll.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <thread>

#include "server/core/api/clock.h"
#include "server/core/control/engine.h"
#include "tests/core/event_waker.h"

namespace arenad::server {

class ThreadLoop {
 public:
  ThreadLoop(Engine& engine, ShardId shard)
      : ThreadLoop(engine.shard(shard),
                   [&engine, shard](Waker* waker) { engine.set_waker(shard, waker); }) {}
  // A shard without an engine. `set_waker` must work as long as the loop.
  ThreadLoop(ShardApi& shard, std::function<void(Waker*)> set_waker)
      : set_waker_(std::move(set_waker)), shard_(shard) {
    set_waker_(&waker_);
    thread_ = std::thread([this] { loop(); });
  }
  ~ThreadLoop() {
    stop_.store(true, std::memory_order_release);
    waker_.wake();
    thread_.join();
    set_waker_(nullptr);
  }

  ShardApi& shard() { return shard_; }

  // Runs f on the shard's thread and gives back what it returns.
  template <class F>
  auto run(F f) -> decltype(f(std::declval<ShardApi&>())) {
    using R = decltype(f(shard_));
    auto promise = std::make_shared<std::promise<R>>();
    auto future = promise->get_future();
    shard_.post([this, f = std::move(f), promise] { promise->set_value(f(shard_)); });
    return future.get();
  }

 private:
  void loop() {
    std::uint64_t next = 0;
    while (!stop_.load(std::memory_order_acquire)) {
      const std::uint64_t now = now_ns();
      const int wait_ms =
          next <= now
              ? 0
              : static_cast<int>(std::min<std::uint64_t>((next - now) / kNsPerMs + 1, 1000));
      pollfd ready{waker_.fd(), POLLIN, 0};
      ::poll(&ready, 1, wait_ms);
      waker_.clear();
      shard_.count_turn();
      shard_.run_inbox();
      shard_.end_turn();
      next = shard_.tick(now_ns());
    }
  }

  const std::function<void(Waker*)> set_waker_;
  ShardApi& shard_;
  EventWaker waker_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace arenad::server
