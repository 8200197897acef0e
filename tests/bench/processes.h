// Processes: children of a benchmark, and two of them that are measured from outside.
//
// Invariants: a child is killed when its parent dies. Each function throws std::runtime_error.
// Threads: call from a process that has no other thread and has not spoken gRPC, because of fork.
// Crash: the board goes with its last process.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>

#include "client/load/kernels/measure.h"
#include "client/load/kernels/progress.h"
#include "client/load/kernels/spsc_ring.h"

namespace arenad::bench {

// A child that runs `body` and ends with it. What `body` throws is printed, and the child ends with
// 1.
pid_t start_child(const std::function<void()>& body);
// Waits for the child. False when it failed.
bool ended_well(pid_t child);
// Runs `body` in a child and waits for it. Throws `failure` when it failed.
void run_in_child(const std::function<void()>& body, const char* failure);

// What the two processes of a workload and the one that measures share. Pairs as spsc_ring.h and
// progress.h say; `calls` is written before a process counts itself into `ended`.
struct Board {
  std::atomic<std::uint32_t> ready, ended;
  std::array<std::atomic<std::uint64_t>, 2> calls;  // gRPC calls that each process made in its loop
  load::Stop stop;
  std::array<load::Progress, 2> progress;
  std::array<load::SpscRing<std::uint64_t>, 2> rings;
};

// Waits until `count` is at least `wanted`: 20 s at most.
void wait_until(const std::atomic<std::uint32_t>& count, std::uint32_t wanted);

struct TwoProcesses {
  double ns_per_op = 0;  // wall time over the operations of both; the median window
  double calls_per_op = 0;
};
// Forks two processes of life(board, 0 or 1), and measures them.
TwoProcesses measure_processes(const std::function<void(Board&, int)>& life,
                               const load::MeasureFor& times);

}  // namespace arenad::bench
