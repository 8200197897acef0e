// arena-load: loads a daemon or the embedded allocator, and checks that nothing was lost.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>

#include "client/load/chaos/chaos.h"
#include "client/load/conservation.h"
#include "client/load/link.h"
#include "client/load/process_worker.h"
#include "client/load/report.h"
#include "client/load/workloads.h"

namespace {

using namespace arenad;
using namespace arenad::load;

// The arena of a run. It is the user's arena, created when absent, or a temporary arena that is
// deleted with this object.
class RunArena {
 public:
  RunArena(const client::Client& client, const Options& options)
      : client_(client), temporary_(options.arena.empty()) {
    name_ = temporary_ ? "arena-load-" + std::to_string(::getpid()) : options.arena;
    auto created = client_.create_arena(name_, {.capacity_bytes = options.capacity_bytes});
    if (!created.ok() && (temporary_ || created.error().reason != Error::kArenaExists))
      or_throw(std::move(created), "create the arena");
  }
  ~RunArena() {
    if (!temporary_) return;
    if (const auto gone = client_.delete_arena(name_, true); !gone.ok())
      std::fprintf(stderr, "arena-load: the temporary arena %s stays: %s\n", name_.c_str(),
                   gone.text().c_str());
  }
  const std::string& name() const { return name_; }
  bool temporary() const { return temporary_; }

 private:
  client::Client client_;
  bool temporary_;
  std::string name_;
};

std::vector<WorkloadResult> run_suite(Options options, const client::Client& client,
                                      const std::string& arena) {
  const auto shards = static_cast<std::uint32_t>(std::max<std::size_t>(
      options.shards.empty() ? client.topology().shards.size() : options.shards.size(), 1));
  const std::uint32_t width = std::min<std::uint32_t>(std::max<std::uint32_t>(shards, 2), 8);
  options.clients = width;
  std::vector<WorkloadResult> results;
  const auto go_on = [&] {
    return !interrupted() && (results.empty() || results.back().failure.empty());
  };
  results.push_back(run_rpc(options, arena));
  if (go_on()) {
    options.workload = "batch";
    results.push_back(run_through_daemon(options, arena));
  }
  // Each shard is the producer of one pair, so that each has something to drain.
  if (go_on()) results.push_back(run_handoff(options, arena, std::min<std::uint32_t>(shards, 8)));
  if (go_on()) results.push_back(run_xmalloc(options, arena, width));
  // Once more by peers, to which the daemon only leases slabs.
  options.mode = Mode::kPeer;
  if (go_on()) results.push_back(run_peers(options, arena));
  if (go_on()) results.push_back(run_handoff(options, arena, 1));
  if (go_on()) results.push_back(run_xmalloc(options, arena, 2));
  options.size_bytes = kFrameBytes;
  if (go_on())
    for (WorkloadResult& result : run_frames(options, arena)) results.push_back(std::move(result));
  return results;
}

int finish(const Options& options, const std::vector<WorkloadResult>& results,
           const Conservation& conservation) {
  print_table(results);
  print_conservation(conservation);
  if (const std::string wrong = write_reports(options, results, conservation); !wrong.empty()) {
    std::fprintf(stderr, "arena-load: %s\n", wrong.c_str());
    return kExitRefused;
  }
  std::printf("seed %llu\n", static_cast<unsigned long long>(options.seed));
  if (!conservation.ok()) return kExitNotConserved;
  for (const WorkloadResult& r : results)
    if (!r.failure.empty()) {
      std::fprintf(stderr, "arena-load: %s: %s\n", r.workload.c_str(), r.failure.c_str());
      return kExitRefused;
    }
  return kExitOk;
}

int run(const Options& options) {
  if (options.workload == "chaos") return run_chaos(options);
  if (options.mode == Mode::kInProcess) {
    const std::vector<WorkloadResult> results{run_in_process(options)};
    return finish(options, results, check_in_process(results));
  }
  const auto client =
      or_throw(client::Client::connect(options.socket, {.wait_ready_ms = 2000}), "connect");
  for (const std::uint32_t shard : options.shards)
    if (shard >= client.topology().shards.size())
      throw LoadError("shard " + std::to_string(shard) + " does not exist: the daemon has " +
                      std::to_string(client.topology().shards.size()));
  const RunArena arena(client, options);
  std::vector<WorkloadResult> results;
  if (options.workload == "suite")
    results = run_suite(options, client, arena.name());
  else if (options.workload == "frames")
    results = run_frames(options, arena.name());
  else if (options.workload == "rpc")
    results.push_back(run_rpc(options, arena.name()));
  else if (options.workload == "handoff")
    results.push_back(run_handoff(options, arena.name(), 1));
  else if (options.workload == "xmalloc")
    results.push_back(run_xmalloc(options, arena.name(), 2));
  else if (options.mode == Mode::kPeer)
    results.push_back(run_peers(options, arena.name()));
  else
    results.push_back(run_through_daemon(options, arena.name()));
  return finish(options, results,
                check_daemon(client, arena.name(), arena.temporary(),
                             options.workload == "suite" && !interrupted(), results));
}

}  // namespace

int main(int argc, char** argv) {
  // This poller has the lowest latency on Unix sockets (measured: server/README.md). It must be set
  // before gRPC starts. A choice of the user wins.
  ::setenv("GRPC_POLL_STRATEGY", "poll", 0);
  if (argc > 1 && std::strcmp(argv[1], "worker") == 0) return worker_main(argc, argv);
  Options options;
  if (const int code = parse_options(argc, argv, options); code >= 0) return code;
  watch_signals();
  try {
    return run(options);
  } catch (const std::exception& e) {
    std::fflush(stdout);
    std::fprintf(stderr, "arena-load: %s\n", e.what());
    return kExitRefused;
  }
}
