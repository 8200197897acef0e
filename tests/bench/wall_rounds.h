// WallRounds: wall time and gRPC calls of one kernel, round by round.
//
// Purpose: load::measure_here counts the processor time of the thread, and a thread that waits for
//   a call uses none. So workloads that may call are timed by the wall clock. Two kernels may take
//   turns, round by round.
// Invariants: a round lasts at least MeasureFor::round. The warm-up counts for nothing.
// Threads: the kernel's. Crash: private.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "client/load/kernels/measure.h"

namespace arenad::bench {

// gRPC calls that the subject has made so far; empty for a subject that makes none.
using Calls = std::function<std::uint64_t()>;

template <class Kernel>
class WallRounds {
 public:
  explicit WallRounds(Kernel& kernel, Calls calls = {})
      : kernel_(kernel), calls_(std::move(calls)) {}

  // Finds out how many operations fill a round. The first operations may be much slower than the
  // others, so they do not count, and two rounds in a row must be long enough.
  void warm_up(const load::MeasureFor& times) {
    const auto begin = Clock::now();
    kernel_.run(kFirstOperations);
    for (int long_enough = 0; long_enough < 2 || Clock::now() - begin < times.warm_up;) {
      if (timed() >= times.round) {
        ++long_enough;
      } else {
        operations_ *= 2;
        long_enough = 0;
      }
    }
  }

  void round() {
    const std::uint64_t before = calls_ ? calls_() : 0;
    const std::chrono::duration<double, std::nano> took = timed();
    ns_.push_back(took.count() / static_cast<double>(done_));
    all_calls_ += calls_ ? calls_() - before : 0;
    all_done_ += done_;
  }

  double ns_per_op() const { return load::median(ns_); }
  double calls_per_op() const {
    return static_cast<double>(all_calls_) /
           static_cast<double>(std::max<std::uint64_t>(all_done_, 1));
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::uint64_t kFirstOperations = 8;

  Clock::duration timed() {
    const auto begin = Clock::now();
    done_ = kernel_.run(operations_);
    return Clock::now() - begin;
  }

  Kernel& kernel_;
  Calls calls_;
  std::uint64_t operations_ = 1, done_ = 0;
  std::uint64_t all_calls_ = 0, all_done_ = 0;
  std::vector<double> ns_;
};

// Rounds of these kernels in turn until `total` has passed; at least three.
template <class... Kernels>
void measure_rounds(std::chrono::milliseconds total, WallRounds<Kernels>&... rounds) {
  const auto until = std::chrono::steady_clock::now() + total;
  for (int turn = 0; turn < 3 || std::chrono::steady_clock::now() < until; ++turn)
    (rounds.round(), ...);
}

}  // namespace arenad::bench
