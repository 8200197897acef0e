// The workloads. Each function runs one workload and returns its result.
//
// Threads: main calls them one after the other. Crash: see runner.h.
#pragma once

#include <string>
#include <vector>

#include "client/load/runner.h"

namespace arenad::load {

// pair, batch, churn, larson with the allocator embedded in this process. Conservation is checked
// inside; the result's failure says what was wrong.
WorkloadResult run_in_process(const Options& options);
// The same through the daemon, on `arena`.
WorkloadResult run_through_daemon(const Options& options, const std::string& arena);
// The same by peers of `arena`.
WorkloadResult run_peers(const Options& options, const std::string& arena);
// Unary calls, closed or open loop.
WorkloadResult run_rpc(const Options& options, const std::string& arena);
// frames by peers: first the rotation of large blocks in one process, then their hand-over from a
// producer process to a consumer process. A result for each; only the first after a failure.
std::vector<WorkloadResult> run_frames(const Options& options, const std::string& arena);
// The hand-over of frames.
WorkloadResult run_frame_handover(const Options& options, const std::string& arena);
// handoff: `pairs` producers, each with a consumer on the shard after its own. xmalloc: `workers`
// in a circle. Both run by streams through the daemon, or by peers.
WorkloadResult run_handoff(const Options& options, const std::string& arena, std::uint32_t pairs);
WorkloadResult run_xmalloc(const Options& options, const std::string& arena, std::uint32_t workers);

}  // namespace arenad::load
