// pair, batch, churn and larson through the daemon. Each thread has a session and uses unary calls
// or a stream.
#include <algorithm>
#include <barrier>
#include <mutex>

#include "client/load/kernels/churn.h"
#include "client/load/kernels/random.h"
#include "client/load/link.h"
#include "client/load/workloads.h"

namespace arenad::load {
namespace {

constexpr std::uint32_t kBatchBlocks = 1000;
constexpr std::uint32_t kLiveBlocks = 10'000;
constexpr std::uint32_t kSetBlocks = 1000;  // larson
constexpr std::uint32_t kSetRounds = 10;    // times a set is replaced before it is passed on

using Refs = std::vector<Ref>;

std::uint64_t random_size(Random& random) {
  return kChurnMinBytes + random.below(kChurnMaxBytes - kChurnMinBytes + 1);
}

class Worker {
 public:
  Worker(const Options& options, const Link& link, Track& track, std::uint64_t seed)
      : options_(options),
        arena_(link.arena),
        io_(link, options.mode, options.batch, track),
        track_(track),
        random_(seed) {}

  void pair() {
    io_.allocate(options_.size_bytes, options_.batch, blocks_);
    free_blocks(false);
  }
  void batch() {
    io_.allocate(options_.size_bytes, kBatchBlocks, blocks_);
    free_blocks(true);
  }
  // Replaces one message of random blocks of `live`.
  void replace(Refs& live) {
    const std::uint32_t n =
        std::min<std::uint32_t>(options_.batch, static_cast<std::uint32_t>(live.size()));
    // Victims are distinct: a random block changes places with the next of the first n.
    for (std::uint32_t i = 0; i < n; ++i)
      std::swap(live[i], live[i + random_.below(static_cast<std::uint32_t>(live.size()) - i)]);
    io_.free({live.data(), n});
    fill(live, 0, n);
    track_.add(n);
  }
  void fill(Refs& live, std::uint32_t from, std::uint32_t count) {
    while (count != 0) {
      const std::uint32_t n = std::min(count, options_.batch);
      sizes_.resize(n);
      for (std::uint64_t& s : sizes_) s = random_size(random_);
      io_.allocate_sizes(sizes_, blocks_);
      for (std::uint32_t i = 0; i < n; ++i) {
        stamp(arena_, blocks_[i], options_.seed);
        live[from + i] = blocks_[i].ref;
      }
      from += n;
      count -= n;
    }
  }
  void free(const Refs& refs) { io_.free(refs); }

 private:
  void free_blocks(bool reversed) {
    refs_.clear();
    for (const auto& b : blocks_) {
      stamp(arena_, b, options_.seed);
      refs_.push_back(b.ref);
    }
    if (reversed) std::reverse(refs_.begin(), refs_.end());
    io_.free(refs_);
    track_.add(refs_.size());
  }

  const Options& options_;
  const client::ArenaHandle& arena_;
  BlockIo io_;
  Track& track_;
  Random random_;
  std::vector<client::AllocatedBlock> blocks_;
  std::vector<std::uint64_t> sizes_;
  Refs refs_;
};

// larson: sets of blocks that threads pass to one another.
class Mailbox {
 public:
  Refs swap(Refs mine) {
    const std::scoped_lock lock(mutex_);
    std::swap(mine, waiting_);
    return mine;
  }

 private:
  std::mutex mutex_;
  Refs waiting_;
};

// The measured part of one worker. It runs until stop.
void work(const Options& options, Worker& worker, Refs& live, Mailbox& mailbox,
          const std::atomic<std::uint32_t>& stop) {
  const auto stopped = [&] { return stop.load(std::memory_order_relaxed) != 0; };
  while (!stopped()) {
    if (options.workload == "pair") worker.pair();
    if (options.workload == "batch") worker.batch();
    if (options.workload == "churn") worker.replace(live);
    if (options.workload != "larson") continue;
    const std::uint32_t messages = kSetBlocks * kSetRounds / options.batch + 1;
    for (std::uint32_t m = 0; m < messages && !stopped(); ++m) worker.replace(live);
    live = mailbox.swap(std::move(live));
    if (live.empty()) {  // this thread was the first to leave a set
      live.resize(kSetBlocks);
      worker.fill(live, 0, kSetBlocks);
    }
  }
}

// The blocks with which a worker starts.
std::uint32_t live_blocks(const Options& options) {
  if (options.workload == "churn") return kLiveBlocks;
  if (options.workload == "larson") return kSetBlocks;
  return options.leave_block ? 1 : 0;
}

}  // namespace

WorkloadResult run_through_daemon(const Options& options, const std::string& arena) {
  Mailbox mailbox;
  // Sets go from worker to worker, so a worker's session holds blocks of other workers' sets. No
  // worker closes its session before all have freed.
  std::barrier all(options.clients);
  const std::string unit = (options.mode == Mode::kUnary ? "call of " : "message of ") +
                           std::to_string(options.batch) + " blocks";
  const auto body = [&](std::uint32_t i, Track& track, Shared& shared) {
    Link link = Link::open(options, arena, "arena-load-" + options.workload, i, track);
    {
      Worker worker(options, link, track, options.seed + i);
      Refs live(live_blocks(options));
      worker.fill(live, 0, static_cast<std::uint32_t>(live.size()));
      if (wait_for_start(shared, track)) work(options, worker, live, mailbox, shared.stop);
      if (options.leave_block && i == 0) live.pop_back();
      all.arrive_and_wait();
      if (i == 0) worker.free(mailbox.swap({}));
      worker.free(live);
      all.arrive_and_wait();
    }
    link.close(track);
  };
  return run_threads(options, options.workload, mode_name(options.mode), unit, options.clients,
                     [&](std::uint32_t i, Track& track, Shared& shared) {
                       try {
                         body(i, track, shared);
                       } catch (...) {
                         all.arrive_and_drop();
                         throw;
                       }
                     });
}

}  // namespace arenad::load
