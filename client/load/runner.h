// Runner: starts the workers of a workload together, shows a live line a second, and ends the
// workers on time.
//
// Threads: main calls run_workers. Worker bodies run on threads of their own, or are processes that
//   watch Shared::stop.
// Crash: a worker that fails ends the run. SIGINT ends the run early; the results and checks
//   follow.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "arenad/types.h"
#include "client/load/options.h"
#include "client/load/track.h"

namespace arenad::load {

struct WorkloadResult {
  std::string workload;
  std::string mode;
  std::string unit;  // what a latency measures: "call", "message of 64 blocks", ...
  double seconds = 0;
  std::uint64_t operations = 0;  // blocks allocated and freed
  std::uint64_t bad = 0;         // blocks without their stamp
  std::uint64_t left_held = 0;   // blocks that sessions held at their end
  std::int64_t calls = -1;       // gRPC messages sent while it was measured; -1: there is no daemon
  std::vector<std::uint64_t> per_second;  // operations in each second
  std::shared_ptr<Histogram> latency;
  std::string failure;                      // empty when all went well
  std::vector<client::SessionId> sessions;  // that the workers used
  std::vector<std::string> mismatches;      // in process: what verify() found
  double ops_per_second() const {
    return seconds > 0 ? static_cast<double>(operations) / seconds : 0;
  }
};

// True after SIGINT or SIGTERM.
bool interrupted();
void watch_signals();

// Waits until `workers` tracks are ready, starts them together, shows the live line, and says stop
// after options.duration_s. Then calls `join`, which returns when all workers have ended. Asks
// `alive` from time to time; false ends the run.
WorkloadResult run_workers(const Options& options, const std::string& workload,
                           const std::string& mode, const std::string& unit, std::uint32_t workers,
                           Tracks& tracks, const std::function<bool()>& alive,
                           const std::function<void()>& join);

// The same with threads that call body(index, track, shared). A body that throws fails the run with
// its text.
WorkloadResult run_threads(const Options& options, const std::string& workload,
                           const std::string& mode, const std::string& unit, std::uint32_t threads,
                           const std::function<void(std::uint32_t, Track&, Shared&)>& body);

// A worker calls this when it is set up. Marks the track as ready and waits for the start. False
// when the run was called off.
bool wait_for_start(Shared& shared, Track& track);

}  // namespace arenad::load
