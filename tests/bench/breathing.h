// breathing: 100,000 blocks allocated, then freed, over and over. Each time is a swing.
//
// Purpose: tells whether memory that a load needs again at once stays with the subject. One thread
//   has all blocks, or two threads have half of them each.
// Invariants: the first kSettleSwings swings count for nothing. Both threads run until the end, so
//   what is counted is time in which both worked.
// Threads: one for each context, pinned. Crash: as the subject.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "client/load/kernels/batch.h"
#include "client/load/kernels/measure.h"
#include "tests/bench/options.h"
#include "tests/bench/wall_rounds.h"

namespace arenad::bench {

inline constexpr std::uint32_t kBreathingBlocks = 100'000;
inline constexpr std::uint64_t kSettleSwings = 3;
inline constexpr std::uint64_t kLeastSwings = 5;  // counted ones
inline constexpr auto kBreathingWithin = std::chrono::seconds(60);

struct Breathed {
  double ns_per_op = 0;
  double calls_per_swing = 0;  // of all threads, 100,000 blocks
};

template <class C>
class Breathing {
 public:
  // A thread for each context.
  Breathing(std::vector<C*> contexts, std::size_t block_bytes, std::array<int, 2> cores)
      : contexts_(std::move(contexts)), block_bytes_(block_bytes), cores_(cores) {}

  Breathed measure(std::chrono::milliseconds total, const Calls& calls) {
    for (std::size_t i = 0; i < contexts_.size(); ++i) threads_.emplace_back([this, i] { run(i); });
    Breathed breathed;
    std::exception_ptr late;
    try {
      wait_for_swings(kSettleSwings);
      const auto begin = Clock::now();
      const std::uint64_t swings = all_swings(), made = calls ? calls() : 0;
      wait_for_swings(kSettleSwings + kLeastSwings);
      while (Clock::now() - begin < total && !stop_.is_requested())
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      const std::uint64_t parts = all_swings() - swings;  // each thread did its part of a swing
      if (calls && parts != 0)
        breathed.calls_per_swing =
            static_cast<double>((calls() - made) * contexts_.size()) / static_cast<double>(parts);
    } catch (...) {
      late = std::current_exception();
    }
    stop_.request();
    for (std::thread& thread : threads_) thread.join();
    for (const std::exception_ptr& failure : failures_)
      if (failure) std::rethrow_exception(failure);
    if (late) std::rethrow_exception(late);
    for (std::size_t i = 0; i < contexts_.size(); ++i)
      breathed.ns_per_op +=
          load::median(swing_ns_[i]) / kBreathingBlocks / static_cast<double>(contexts_.size());
    return breathed;
  }

 private:
  using Clock = std::chrono::steady_clock;

  void run(std::size_t i) {
    try {
      load::pin_to_core(cores_[i]);
      const auto blocks = static_cast<std::uint32_t>(kBreathingBlocks / contexts_.size());
      load::Batch<C> batch(*contexts_[i], blocks, block_bytes_);
      while (!stop_.is_requested()) {
        const auto begin = Clock::now();
        batch.run(1);  // a whole swing
        const std::chrono::duration<double, std::nano> took = Clock::now() - begin;
        progress_[i].add(1);
        if (progress_[i].get() > kSettleSwings && !stop_.is_requested())
          swing_ns_[i].push_back(took.count());
      }
      batch.finish();
    } catch (...) {
      failures_[i] = std::current_exception();
      stop_.request();
    }
  }

  void wait_for_swings(std::uint64_t wanted) {
    const auto deadline = Clock::now() + kBreathingWithin;
    for (std::size_t i = 0; i < contexts_.size(); ++i)
      while (progress_[i].get() < wanted && !stop_.is_requested()) {
        if (Clock::now() > deadline) throw std::runtime_error("eight swings took more than 60 s");
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
  }

  std::uint64_t all_swings() const {
    std::uint64_t sum = 0;
    for (const load::Progress& p : progress_) sum += p.get();
    return sum;
  }

  std::vector<C*> contexts_;
  std::size_t block_bytes_;
  std::array<int, 2> cores_;
  load::Stop stop_;
  std::array<load::Progress, 2> progress_;
  std::array<std::exception_ptr, 2> failures_;
  std::array<std::vector<double>, 2> swing_ns_;  // each written by its thread
  std::vector<std::thread> threads_;
};

// Prints breathing_SIZE and breathing_SIZE_2_threads for 256 B, 1 KiB and 4 KiB.
template <class C>
void measure_breathing(C& first, C& second, const Options& options, std::array<int, 2> cores,
                       const Calls& calls) {
  constexpr std::array<NamedSize, 3> kSizes{{{"256B", 256}, {"1KiB", 1024}, {"4KiB", 4096}}};
  for (const NamedSize& size : kSizes)
    for (const bool two : {false, true}) {
      std::vector<C*> contexts{&first};
      if (two) contexts.push_back(&second);
      Breathing<C> breathing(contexts, size.bytes, cores);
      const Breathed breathed = breathing.measure(3 * options.times.total, calls);
      const std::string row = std::string("breathing_") + size.name + (two ? "_2_threads" : "");
      print_figure(row, "ns_per_op", breathed.ns_per_op);
      if (calls) print_figure(row + "_calls", "calls_per_swing", breathed.calls_per_swing);
    }
}

}  // namespace arenad::bench
