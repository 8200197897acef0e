// Cores: which cores this process may use, how to pin to one, and how far apart two of them are.
//
// Purpose: a figure of two cores means nothing without the time that a cache line takes between
//   them. A virtual machine's cores move. So that time is measured beside every such figure.
// Threads: any. Crash: private.
#pragma once

#include <sched.h>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

namespace arenad::load {

// The cores that this thread may run on, ascending. Call it before pinning.
inline std::vector<int> allowed_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    for (int core = 0; core < CPU_SETSIZE; ++core)
      if (CPU_ISSET(core, &set)) cores.push_back(core);
  if (cores.empty()) cores.push_back(0);
  return cores;
}

// Binds the calling thread to `core`; false when the kernel refuses.
inline bool pin_to_core(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  return sched_setaffinity(0, sizeof set, &set) == 0;
}

// A pair of cores above this is called far: they share no cache, or the host moved them apart.
inline constexpr double kFarNs = 100;

// Nanoseconds that a cache line takes one way between two spinning cores. The result is the median
// of `rounds` rounds of ping-pong, about a millisecond each. 0 when both are the same core.
inline double one_way_ns(int core_a, int core_b, int rounds = 9) {
  if (core_a == core_b) return 0;
  constexpr std::uint64_t kTripsPerRound = 2000;
  struct alignas(128) Line {
    std::atomic<std::uint64_t> value{
        0};  // ping stores odd, pong answers even; each acquires the other's release
  } line;
  const std::uint64_t last = 2 * kTripsPerRound * static_cast<std::uint64_t>(rounds);
  std::thread pong([&] {
    pin_to_core(core_b);
    for (std::uint64_t n = 1; n < last; n += 2) {
      while (line.value.load(std::memory_order_acquire) != n) {}
      line.value.store(n + 1, std::memory_order_release);
    }
  });
  std::vector<double> times;
  std::thread ping([&] {
    pin_to_core(core_a);
    std::uint64_t n = 1;
    for (int round = 0; round < rounds; ++round) {
      const auto begin = std::chrono::steady_clock::now();
      for (std::uint64_t i = 0; i < kTripsPerRound; ++i, n += 2) {
        line.value.store(n, std::memory_order_release);
        while (line.value.load(std::memory_order_acquire) != n + 1) {}
      }
      const std::chrono::duration<double, std::nano> took =
          std::chrono::steady_clock::now() - begin;
      times.push_back(took.count() / static_cast<double>(2 * kTripsPerRound));
    }
  });
  ping.join();
  pong.join();
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

}  // namespace arenad::load
