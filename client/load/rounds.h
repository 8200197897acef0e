// Rounds: drives a kernel's loop until the run ends, and reports to the worker's track.
//
// Purpose: for kernels in this process: those of the embedded allocator and those of a peer.
// Threads: drive_rounds runs on the worker's thread. watch_body starts one more thread for the
//   body.
// Crash: the track keeps what was counted.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <thread>

#include "client/load/kernels/progress.h"
#include "client/load/link.h"
#include "client/load/track.h"

namespace arenad::load {

inline constexpr std::uint64_t kRound = 4096;  // operations between two looks at the clock

// Runs whole rounds of `kernel` until `stop`. The mean of a round counts for all its operations.
// Calls `after` after each round. A kernel of slow operations wants fewer of them in a round.
template <class Kernel, class After>
void drive_rounds(Kernel& kernel, Track& track, const std::atomic<std::uint32_t>& stop, After after,
                  std::uint64_t round = kRound) {
  while (stop.load(std::memory_order_relaxed) == 0) {
    const std::uint64_t begin = now_ns();
    const std::uint64_t done = kernel.run(round);
    track.latency.record((now_ns() - begin) / done, done);
    track.add(done);
    after();
  }
}

// For a body that runs by itself until `end`. The body gets a thread. The calling thread copies the
// body's progress into the track.
template <class After>
void watch_body(const std::function<void(Progress&, Stop&)>& body, Track& track,
                const std::atomic<std::uint32_t>& stop, After after) {
  Progress progress;
  Stop end;
  std::exception_ptr failure;
  std::atomic<bool> ended{false};
  std::thread worker([&] {
    try {
      body(progress, end);
    } catch (...) {
      failure = std::current_exception();
    }
    ended.store(true, std::memory_order_release);
  });
  std::uint64_t seen = 0, at = now_ns();
  while (stop.load(std::memory_order_relaxed) == 0 && !ended.load(std::memory_order_acquire)) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    after();
    const std::uint64_t now = now_ns(), done = progress.get();
    if (done == seen) continue;
    track.latency.record((now - at) / (done - seen), done - seen);
    track.add(done - seen);
    seen = done;
    at = now;
  }
  end.request();
  worker.join();
  track.add(progress.get() - seen);
  if (failure) std::rethrow_exception(failure);
}

}  // namespace arenad::load
