// pair, batch, churn, larson and frames by peers. Each thread has a session, so each has a heap.
// The kernels run over try_allocate and try_free.
#include <barrier>
#include <memory>

#include "client/load/kernels/batch.h"
#include "client/load/kernels/churn.h"
#include "client/load/kernels/cores.h"
#include "client/load/kernels/larson.h"
#include "client/load/kernels/pair.h"
#include "client/load/kernels/peer_context.h"
#include "client/load/kernels/rotation.h"
#include "client/load/rounds.h"
#include "client/load/workloads.h"

namespace arenad::load {
namespace {

using Sets = Larson<PeerContext::Handle, kMaxWorkers>;

// What a worker does between opening its session and closing it.
class PeerThread {
 public:
  PeerThread(const Options& options, std::uint32_t index, const Link& link, Track& track,
             Shared& shared, Sets& sets, std::barrier<>& all)
      : options_(options),
        index_(index),
        link_(link),
        context_(link.arena),
        track_(track),
        shared_(shared),
        sets_(sets),
        all_(all) {}

  void run() {
    const std::uint64_t seed = options_.seed + index_;
    if (options_.workload == "pair") drive(Pair<PeerContext>(context_, options_.size_bytes));
    if (options_.workload == "batch")
      drive(Batch<PeerContext>(context_, kBatchBlocks, options_.size_bytes));
    if (options_.workload == "churn") drive(Churn<PeerContext>(context_, seed));
    if (options_.workload == "larson") larson(seed);
    if (options_.workload == "frames")
      drive(Rotation<PeerContext>(context_, options_.size_bytes), kRotationBlocks);
    if (options_.leave_block && index_ == 0) context_.allocate(options_.size_bytes);
  }

 private:
  template <class Kernel>
  void drive(Kernel kernel, std::uint64_t round = kRound) {
    if (wait_for_start(shared_, track_))
      drive_rounds(
          kernel, track_, shared_.stop, [this] { link_.count_calls(track_); }, round);
    kernel.finish();
  }
  // Sets go from worker to worker. So one worker fills all sets, and one frees them when all
  // workers have ended and before any of them closes its session.
  void larson(std::uint64_t seed) {
    if (index_ == 0) sets_.prepare(context_, options_.clients, options_.seed);
    all_.arrive_and_wait();
    if (wait_for_start(shared_, track_))
      watch_body(
          [&](Progress& progress, Stop& end) { sets_.run(context_, index_, seed, progress, end); },
          track_, shared_.stop, [this] { link_.count_calls(track_); });
    all_.arrive_and_wait();
    if (index_ == 0) sets_.finish(context_, options_.clients);
    all_.arrive_and_wait();
  }

  const Options& options_;
  const std::uint32_t index_;
  const Link& link_;
  PeerContext context_;
  Track& track_;
  Shared& shared_;
  Sets& sets_;
  std::barrier<>& all_;
};

}  // namespace

WorkloadResult run_peers(const Options& options, const std::string& arena) {
  const auto sets = std::make_unique<Sets>();
  std::barrier all(options.clients);
  const std::vector<int> cores = allowed_cores();
  const char* const unit =
      options.workload == "frames" ? "frame (mean of 4)" : "operation (mean of 4096)";
  return run_threads(options, options.workload, mode_name(options.mode), unit, options.clients,
                     [&](std::uint32_t i, Track& track, Shared& shared) {
                       try {
                         Link link =
                             Link::open(options, arena, "arena-load-" + options.workload, i, track);
                         // Now, so that the threads of gRPC and of the session stay unpinned.
                         pin_to_core(cores[i % cores.size()]);
                         PeerThread(options, i, link, track, shared, *sets, all).run();
                         link.close(track);
                       } catch (...) {
                         all.arrive_and_drop();
                         throw;
                       }
                     });
}

std::vector<WorkloadResult> run_frames(const Options& options, const std::string& arena) {
  Options one = options;
  one.workload = "frames";
  one.mode = Mode::kPeer;
  one.clients = 1;
  std::vector<WorkloadResult> results{run_peers(one, arena)};
  if (results.back().failure.empty() && !interrupted())
    results.push_back(run_frame_handover(one, arena));
  return results;
}

}  // namespace arenad::load
