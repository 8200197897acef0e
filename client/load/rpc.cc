// rpc: unary calls of one block, many in flight.
//
// Closed loop: the next call starts when one ends. Open loop: calls start at fixed times. A call
// that starts late is measured from the time at which it was due, which corrects for coordinated
// omission.
#include <algorithm>

#include "client/load/link.h"
#include "client/load/workloads.h"

namespace arenad::load {
namespace {

// One chain of calls: allocate a block, free it, repeat.
struct Lane {
  std::uint64_t due_ns = 0;  // when the call in flight was due to start
  Ref ref;
  bool busy = false;
};

class RpcWorker {
 public:
  RpcWorker(const Options& options, const Link& link, Track& track, std::uint64_t interval_ns)
      : options_(options),
        link_(link),
        pump_(or_throw(client::CallPump::open(link.arena), "open a connection")),
        track_(track),
        interval_ns_(interval_ns),
        lanes_(options.in_flight) {}

  void run(const std::atomic<std::uint32_t>& stop) {
    next_due_ns_ = now_ns();
    while (stop.load(std::memory_order_relaxed) == 0) {
      start_due();
      take(interval_ns_ == 0 ? 100 : wait_ms());
    }
    // Each allocation that is still in flight gets its free.
    free_idle();
    while (pump_.in_flight() != 0) {
      take(100, true);
      free_idle();
    }
  }

 private:
  // Idle lanes start when they are due. In the closed loop that is at once.
  void start_due() {
    for (std::size_t i = 0; i < lanes_.size(); ++i) {
      if (lanes_[i].busy) continue;
      const std::uint64_t now = now_ns();
      if (interval_ns_ != 0 && next_due_ns_ > now) return;
      start(i, interval_ns_ != 0 ? next_due_ns_ : now);
      next_due_ns_ += interval_ns_;
    }
  }
  void start(std::size_t lane, std::uint64_t due) {
    lanes_[lane].busy = true;
    lanes_[lane].due_ns = due;
    if (lanes_[lane].ref.value == 0)
      pump_.allocate(lane, options_.size_bytes);
    else
      pump_.free(lane, {&lanes_[lane].ref, 1});
  }
  std::uint32_t wait_ms() const {
    const std::uint64_t now = now_ns();
    return next_due_ns_ <= now ? 0 : static_cast<std::uint32_t>((next_due_ns_ - now) / 1'000'000);
  }

  void take(std::uint32_t timeout_ms, bool ending = false) {
    for (const auto* done = pump_.next(timeout_ms); done != nullptr; done = pump_.next(0)) {
      Lane& lane = lanes_[done->tag];
      track_.latency.record(now_ns() - lane.due_ns);
      link_.count_calls(track_);
      or_throw(done->status, done->call == client::CallPump::Call::kAllocate ? "allocate" : "free");
      lane.busy = false;
      if (done->call == client::CallPump::Call::kAllocate) {
        lane.ref = done->blocks.at(0).ref;
      } else {
        if (!done->batch.all())
          throw LoadError("free: " + done->batch.errors.front().status.text());
        lane.ref = Ref{};
        track_.add(1);
      }
      if (interval_ns_ == 0 && !ending) start(done->tag, now_ns());
    }
  }
  void free_idle() {
    for (std::size_t i = 0; i < lanes_.size(); ++i)
      if (!lanes_[i].busy && lanes_[i].ref.value != 0) start(i, now_ns());
  }

  const Options& options_;
  const Link& link_;
  client::CallPump pump_;
  Track& track_;
  const std::uint64_t interval_ns_;
  std::uint64_t next_due_ns_ = 0;
  std::vector<Lane> lanes_;
};

}  // namespace

WorkloadResult run_rpc(const Options& options, const std::string& arena) {
  const auto interval =
      options.rate > 0 ? static_cast<std::uint64_t>(1e9 * options.clients / options.rate) : 0;
  return run_threads(options, "rpc", options.rate > 0 ? "open" : "closed", "call of 1 block",
                     options.clients, [&](std::uint32_t i, Track& track, Shared& shared) {
                       Link link = Link::open(options, arena, "arena-load-rpc", i, track);
                       {
                         RpcWorker worker(options, link, track, interval);
                         if (wait_for_start(shared, track)) worker.run(shared.stop);
                       }
                       link.close(track);
                     });
}

}  // namespace arenad::load
