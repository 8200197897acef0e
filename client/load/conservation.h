// Conservation: tells after a run whether a block was lost, doubled or left held.
//
// Purpose: asks the daemon, or takes the result of verify() when the allocator ran in this process.
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
  client::Stats stats;                // counters of the arena
  std::vector<std::string> problems;  // empty: all is well
  bool ok() const { return problems.empty(); }
};

// Audits `arena`.
// `temporary`: the arena is this run's own, so nothing may be held.
// `every_shard`: each shard must have spliced and carved, and drained when there are several
// shards. An error of a call is a problem too.
Conservation check_daemon(const client::Client& client, const std::string& arena, bool temporary,
                          bool every_shard, const std::vector<WorkloadResult>& results);
Conservation check_in_process(const std::vector<WorkloadResult>& results);

// Prints the result for people: drains, splices and carves of each shard, remote frees of each pair
// of shards, P0 counters, held blocks.
void print_conservation(const Conservation& c);

}  // namespace arenad::load
