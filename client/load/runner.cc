#include "client/load/runner.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <thread>

#include "client/load/report.h"

namespace arenad::load {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kStartWithin = std::chrono::seconds(30);
constexpr double kPeerWarmUpSeconds =
    4;  // what a growing peer leased ahead has gone back, or is in use

std::atomic<bool> g_interrupted{false};
extern "C" void on_signal(int) { g_interrupted.store(true, std::memory_order_relaxed); }

std::string human(double n) {
  const char* unit = "";
  for (const char* next : {"k", "M", "G"}) {
    if (n < 9999.5) break;
    n /= 1000;
    unit = next;
  }
  char text[32];
  std::snprintf(text, sizeof text, n < 100 && *unit != 0 ? "%.1f%s" : "%.0f%s", n, unit);
  return text;
}

double warm_up_s(const Options& options) {
  if (options.warm_up_s >= 0) return options.warm_up_s;
  return options.mode == Mode::kPeer ? kPeerWarmUpSeconds : 0;
}

// One line a second. A terminal shows it in place; elsewhere each is a line of its own.
class LiveLine {
 public:
  explicit LiveLine(bool quiet) : quiet_(quiet), terminal_(::isatty(STDOUT_FILENO) != 0) {}
  ~LiveLine() {
    if (terminal_ && shown_) std::printf("\n");
    std::fflush(stdout);
  }
  void show(const std::string& text) {
    if (quiet_) return;
    shown_ = true;
    std::printf(terminal_ ? "\r\033[K%s" : "%s\n", text.c_str());
    std::fflush(stdout);
  }

 private:
  bool quiet_, terminal_, shown_ = false;
};

}  // namespace

bool interrupted() { return g_interrupted.load(std::memory_order_relaxed); }

void watch_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

bool wait_for_start(Shared& shared, Track& track) {
  track.ready.store(1, std::memory_order_release);
  while (shared.go.load(std::memory_order_acquire) == 0) {
    if (shared.stop.load(std::memory_order_relaxed) != 0) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

WorkloadResult run_workers(const Options& options, const std::string& workload,
                           const std::string& mode, const std::string& unit, std::uint32_t workers,
                           Tracks& tracks, const std::function<bool()>& alive,
                           const std::function<void()>& join) {
  WorkloadResult result;
  result.workload = workload;
  result.mode = mode;
  result.unit = unit;
  result.latency = std::make_shared<Histogram>();

  const auto all_ready = [&] {
    for (std::uint32_t i = 0; i < workers; ++i)
      if (tracks->tracks[i].ready.load(std::memory_order_acquire) == 0) return false;
    return true;
  };
  const auto any_failed = [&] {
    for (std::uint32_t i = 0; i < workers; ++i)
      if (tracks->tracks[i].failed.load(std::memory_order_acquire) != 0) return true;
    return false;
  };
  const auto operations = [&] {
    std::uint64_t n = 0;
    for (std::uint32_t i = 0; i < workers; ++i)
      n += tracks->tracks[i].operations.load(std::memory_order_relaxed);
    return n;
  };

  const auto calls = [&] {
    std::uint64_t n = 0;
    for (std::uint32_t i = 0; i < workers; ++i)
      n += tracks->tracks[i].calls.load(std::memory_order_relaxed);
    return n;
  };

  const auto start_by = Clock::now() + kStartWithin;
  bool started = false;
  while (!any_failed() && alive() && !interrupted() && Clock::now() < start_by)
    if ((started = all_ready()))
      break;
    else
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  if (started) {
    LiveLine live(options.quiet);
    tracks->go.store(1, std::memory_order_release);
    const auto warm_until = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                               std::chrono::duration<double>(warm_up_s(options)));
    while (Clock::now() < warm_until && !any_failed() && alive() && !interrupted())
      std::this_thread::sleep_for(
          std::min<Clock::duration>(std::chrono::milliseconds(20), warm_until - Clock::now()));
    const auto begin = Clock::now();
    const std::uint64_t warm_operations = operations(), warm_calls = calls();
    const auto end = begin + std::chrono::duration_cast<Clock::duration>(
                                 std::chrono::duration<double>(options.duration_s));
    std::uint64_t before = warm_operations;
    for (int second = 1; Clock::now() < end && !any_failed() && alive() && !interrupted();
         ++second) {
      const auto until = std::min(end, begin + std::chrono::seconds(second));
      while (Clock::now() < until && !any_failed() && alive() && !interrupted())
        std::this_thread::sleep_for(
            std::min<Clock::duration>(std::chrono::milliseconds(20), until - Clock::now()));
      const std::uint64_t now = operations();
      result.per_second.push_back(now - before);
      Histogram sum{};
      for (std::uint32_t i = 0; i < workers; ++i) sum.add(tracks->tracks[i].latency);
      char line[200];
      std::snprintf(
          line, sizeof line, "%-8s %-9s %3d s  %8s blocks/s  p50 %s  p99 %s  %s blocks in all",
          workload.c_str(), mode.c_str(), second, human(static_cast<double>(now - before)).c_str(),
          duration_text(sum.quantile(0.5)).c_str(), duration_text(sum.quantile(0.99)).c_str(),
          human(static_cast<double>(now - warm_operations)).c_str());
      live.show(line);
      before = now;
    }
    result.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    result.operations = operations() - warm_operations;
    if (options.mode != Mode::kInProcess)
      result.calls = static_cast<std::int64_t>(calls() - warm_calls);
  } else if (!any_failed() && !interrupted()) {
    result.failure = "the workers were not ready within 30 s";
  }
  tracks->stop.store(1, std::memory_order_release);
  join();
  for (std::uint32_t i = 0; i < workers; ++i) {
    const Track& t = tracks->tracks[i];
    result.latency->add(t.latency);
    result.bad += t.bad.load();
    result.left_held += t.left_held.load();
    if (const client::SessionId session{static_cast<std::uint16_t>(t.session.load())};
        session != kNoSession)
      result.sessions.push_back(session);
    if (const std::string why = t.failure_text(); !why.empty() && result.failure.empty())
      result.failure = why;
  }
  if (result.failure.empty() && result.operations == 0 && !interrupted())
    result.failure = "no block went round";
  return result;
}

WorkloadResult run_threads(const Options& options, const std::string& workload,
                           const std::string& mode, const std::string& unit, std::uint32_t threads,
                           const std::function<void(std::uint32_t, Track&, Shared&)>& body) {
  Tracks tracks;
  std::vector<std::thread> running;
  for (std::uint32_t i = 0; i < threads; ++i) {
    running.emplace_back([&, i] {
      try {
        body(i, tracks->tracks[i], *tracks);
      } catch (const std::exception& e) {
        tracks->tracks[i].fail(e.what());
      }
    });
  }
  return run_workers(
      options, workload, mode, unit, threads, tracks, [] { return true; },
      [&] {
        for (std::thread& t : running) t.join();
      });
}

}  // namespace arenad::load
