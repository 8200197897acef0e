// Measure: nanoseconds per operation of a kernel.
//
// Purpose: times whole rounds of at least 10 ms, so that reading the clock costs nothing. The
//   result is the median round, so that a disturbed round does not count. One thread is timed by
//   its processor time. That clock stops while another process has the core, so a neighbour costs
//   the thread cache lines but no time. Several threads are timed by the wall clock, because they
//   wait for one another. Windows in which one of the threads did not run all the time are set
//   aside.
// Threads: measure_here on the kernel's thread; measure_threads from outside.
// Crash: private.
#pragma once

#include <pthread.h>
#include <time.h>
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "client/load/kernels/cores.h"
#include "client/load/kernels/progress.h"

namespace arenad::load {

struct MeasureFor {
  std::chrono::milliseconds warm_up{50};
  std::chrono::milliseconds total{200};
  std::chrono::milliseconds round{10};  // at least
  // For several threads that never sleep. A window is then a fifth of a round. A window in which
  // one of the threads did not run is set aside. While few windows are left the measurement goes
  // on, up to four times the total.
  bool threads_spin = true;
};

inline double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

// Processor time of a thread so far; the calling thread by default.
inline std::chrono::nanoseconds thread_time(clockid_t clock = CLOCK_THREAD_CPUTIME_ID) {
  timespec now{};
  clock_gettime(clock, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

// Processor time of each of these running threads.
inline std::vector<std::chrono::nanoseconds> thread_times(std::span<std::thread> threads) {
  std::vector<std::chrono::nanoseconds> times;
  for (std::thread& thread : threads) {
    clockid_t clock{};
    const bool runs = pthread_getcpuclockid(thread.native_handle(), &clock) == 0;
    times.push_back(runs ? thread_time(clock) : std::chrono::nanoseconds(0));
  }
  return times;
}

// Runs `kernel.run(operations)` on this thread and returns the median round's ns per operation.
template <class Kernel>
double measure_here(Kernel& kernel, const MeasureFor& times = {}) {
  const auto timed = [&](std::uint64_t operations, std::uint64_t* done) {
    const auto begin = thread_time();
    *done = kernel.run(operations);
    return thread_time() - begin;
  };

  std::uint64_t operations = 256, done = 0;
  const auto warm_until = thread_time() + times.warm_up;
  for (;;) {
    const auto took = timed(operations, &done);
    if (took < times.round) {
      operations *= 2;
    } else if (thread_time() >= warm_until) {
      break;
    }
  }
  std::vector<double> rounds;
  const auto until = thread_time() + times.total;
  do {
    const auto took = timed(operations, &done);
    rounds.push_back(static_cast<double>(took.count()) / static_cast<double>(done));
  } while (thread_time() < until);
  return median(std::move(rounds));
}

// Watches threads or processes that run already. Returns the median window's wall time per
// operation. `operations()` is the sum of their operations, `ran()` the processor time of each.
// Ends early when `stop` is requested.
template <class Operations, class Ran>
double median_window(Operations operations, Ran ran, const Stop& stop, const MeasureFor& times) {
  using Clock = std::chrono::steady_clock;
  struct Moment {
    Clock::time_point wall;
    std::uint64_t operations;
    std::vector<std::chrono::nanoseconds> ran;
  };
  const auto look = [&] { return Moment{Clock::now(), operations(), ran()}; };
  const auto all_ran = [](const Moment& a, const Moment& b) {
    for (std::size_t i = 0; i < a.ran.size(); ++i)
      if ((b.ran[i] - a.ran[i]) * 20 < (b.wall - a.wall) * 19) return false;  // 95 %
    return true;
  };

  std::this_thread::sleep_for(times.warm_up);
  constexpr std::size_t kEnoughWindows = 10;
  const auto window = times.threads_spin ? times.round / 5 : times.round;
  std::vector<double> windows, undisturbed;
  const auto begin = Clock::now();
  const auto goes_on = [&](Clock::time_point now) {
    const bool too_few = times.threads_spin && undisturbed.size() < kEnoughWindows;
    return !stop.is_requested() && now - begin < (too_few ? 4 : 1) * times.total;
  };
  for (Moment before = look(); goes_on(before.wall);) {
    std::this_thread::sleep_for(window);
    Moment now = look();
    if (now.operations != before.operations) {
      const std::chrono::duration<double, std::nano> took = now.wall - before.wall;
      windows.push_back(took.count() / static_cast<double>(now.operations - before.operations));
      if (times.threads_spin && all_ran(before, now)) undisturbed.push_back(windows.back());
    }
    before = std::move(now);
  }
  return median(undisturbed.empty() ? std::move(windows) : std::move(undisturbed));
}

// One thread of a workload. It runs on the given core until stop is requested.
struct ThreadBody {
  int core = 0;
  std::function<void()> run;
};

// Starts the bodies and watches the sum of `progress`. Returns the median window's wall time per
// operation of all threads together. Requests `stop` at the end and joins the threads. Throws the
// exception of the first body that failed.
inline double measure_threads(std::span<const ThreadBody> bodies,
                              std::span<const Progress> progress, Stop& stop,
                              const MeasureFor& times = {}) {
  std::mutex failure_mutex;  // bodies fail rarely; the measured loops never touch it
  std::exception_ptr failure;
  std::vector<std::thread> threads;
  for (const ThreadBody& body : bodies) {
    threads.emplace_back([&] {
      try {
        pin_to_core(body.core);
        body.run();
      } catch (...) {
        const std::scoped_lock lock(failure_mutex);
        if (!failure) failure = std::current_exception();
        stop.request();
      }
    });
  }

  const auto operations = [&] {
    std::uint64_t sum = 0;
    for (const Progress& p : progress) sum += p.get();
    return sum;
  };
  const double ns = median_window(
      operations, [&] { return thread_times(threads); }, stop, times);
  stop.request();
  for (std::thread& thread : threads) thread.join();
  if (failure) std::rethrow_exception(failure);
  return ns;
}

}  // namespace arenad::load
