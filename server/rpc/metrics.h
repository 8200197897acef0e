// Metrics: the daemon's counters as Prometheus text.
//
// Purpose: collect_metrics asks the control thread for all facts. metrics_text writes them down.
// server/README.md lists the names.
// Invariants: heap counters, tunables and limits come from their tables (allocator/heap/counters.h,
// server/core/api/tunables.h, server/core/api/limits.h). A new row is a new sample.
// Threads: any thread calls collect_metrics; `done` runs on the control thread. metrics_text is a
//   pure function.
// Crash: nothing is shared.
#pragma once

#include <string>
#include <vector>

#include "server/core/api/api.h"
#include "server/core/api/limits.h"

namespace arenad::server {

struct MetricsFacts {
  DaemonStats stats;
  std::vector<ArenaFacts> arenas;
  std::vector<TunableFacts> tunables;
  Limits limits;
  bool name_arenas = false;
};

// With `name_arenas` each arena has samples of its own, with its name. Without, a sample is the sum
// of all arenas.
std::string metrics_text(const MetricsFacts& facts);
void collect_metrics(ControlApi& control, const Limits& limits, bool name_arenas,
                     Done<std::string> done);

}  // namespace arenad::server
