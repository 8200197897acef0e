// Conservation: after a run, was anything lost, doubled or left held? Asks the daemon, or takes
// what verify() found in process.
//
// Threads: main. Crash: reads only.
#pragma once

#include <string>
#include <vector>

#include "arenad/arenad.h"
#include "client/load/runner.h"

namespace arenad::load {

struct Conservation {
  bool in_process = false;
  client::AuditReport audit;
  client::Stats stats;                // of the arena
  std::vector<std::string> problems;  // empty: all is well
  bool ok() const { return problems.empty(); }
};

// Audits `arena`. `temporary`: it is this run's own, so nothing at all may be held. `every_shard`:
// each shard must have drained (when there are several), spliced and carved. Errors of the calls
// are problems too.
Conservation check_daemon(const client::Client& client, const std::string& arena, bool temporary,
                          bool every_shard, const std::vector<WorkloadResult>& results);
Conservation check_in_process(const std::vector<WorkloadResult>& results);

// Prints it for people: per shard drains, splices and carves, remote frees per pair of shards, P0
// counters, what is held.
void print_conservation(const Conservation& c);

}  // namespace arenad::load
