#include "server/rpc/loop/shard_loop.h"

#include <grpcpp/alarm.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_posix.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "server/core/api/clock.h"
#include "server/rpc/loop/event.h"
#include "server/rpc/loop/turn_end.h"

namespace arenad::server {
namespace {

// A turn ends after this many events, even when more are ready. Gathered frees and delayed answers
// must not wait for ever.
constexpr std::uint32_t kMostEventsInTurn = 128;
// The longest sleep. It bounds what a missed timer could cost.
constexpr std::uint64_t kLongestWaitNs = 1'000'000'000;
// A request of Heaps.Resume may name a million slabs.
constexpr int kMaxRequestBytes = 8 << 20;

gpr_timespec never_wait() { return gpr_inf_past(GPR_CLOCK_MONOTONIC); }

gpr_timespec wait_ns(std::uint64_t ns) {
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                      gpr_time_from_nanos(static_cast<std::int64_t>(ns), GPR_TIMESPAN));
}

void pin_to(int cpu) {
  if (cpu < 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpu), &set);
  // The cpu may have gone away since it was chosen. The thread then runs unpinned.
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

}  // namespace

struct ShardLoop::Impl final {
  explicit Impl(ShardLoop& owner) : woken(owner) {}

  // The event of a wake-up. gRPC delivers the completion of an Alarm in any case, so no wake-up is
  // lost.
  class Woken final : public Event {
   public:
    explicit Woken(ShardLoop& owner) : owner_(owner) {}
    void complete(bool) override;

   private:
    ShardLoop& owner_;
  };

  TurnEnd turn_end;
  ShardConnections connections;
  std::unique_ptr<grpc::ServerCompletionQueue> queue;
  // Declared before the services: their streams use the context until they are destroyed.
  std::unique_ptr<ServeContext> context;
  std::vector<std::unique_ptr<RpcService>> services;
  std::unique_ptr<grpc::Server> server;
  grpc::Alarm alarm;
  Woken woken;
  // wake() changes false to true and sets the alarm. Woken::complete changes true to false. So at
  // most one alarm is under way. The two exchanges are partners.
  std::atomic<bool> alarm_set{false};
  // stop() sets the flag and then wakes the loop. Its partner is the load in run(), after each
  // wait.
  std::atomic<bool> leaving{false};
  std::thread thread;
};

void ShardLoop::Impl::Woken::complete(bool) {
  // The flag is cleared before the loop reads the inbox: a message pushed later sets the alarm
  // again. Pairs with the exchange in wake().
  owner_.impl_->alarm_set.exchange(false, std::memory_order_seq_cst);
  owner_.shard_.run_inbox();
}

ShardLoop::ShardLoop(ShardApi& shard, const std::atomic<std::uint64_t>& spin_us,
                     ShardLoopOptions options)
    : shard_(shard),
      spin_us_(spin_us),
      listen_(std::move(options.listen)),
      cpu_(options.cpu),
      impl_(std::make_unique<Impl>(*this)) {}

ShardLoop::~ShardLoop() { stop(0); }

Answer<Nothing> ShardLoop::start(std::vector<std::unique_ptr<RpcService>> services) {
  grpc::ServerBuilder builder;
  int port = 0;
  if (!listen_.empty()) builder.AddListeningPort(listen_, grpc::InsecureServerCredentials(), &port);
  // With SO_REUSEPORT two daemons on one TCP port would share its connections. A Unix socket has no
  // bandwidth to probe.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  builder.SetMaxReceiveMessageSize(kMaxRequestBytes);
  for (const auto& service : services) builder.RegisterService(&service->service());
  impl_->queue = builder.AddCompletionQueue();
  impl_->services = std::move(services);
  impl_->server = builder.BuildAndStart();
  if (impl_->server == nullptr) {
    impl_->queue->Shutdown();
    impl_->queue.reset();
    return Failure{Error::kInvalidOption,
                   "cannot listen on " + listen_ + ": see whether the port is free"};
  }
  if (listen_.ends_with(":0")) listen_.replace(listen_.size() - 1, 1, std::to_string(port));
  impl_->context = std::make_unique<ServeContext>(
      ServeContext{*impl_->queue, impl_->turn_end, shard_, impl_->connections});
  impl_->thread = std::thread([this] { run(); });
  return Nothing{};
}

void ShardLoop::wake() {
  if (impl_->alarm_set.exchange(true, std::memory_order_seq_cst))
    return;  // pairs with the exchange in Woken::complete
  impl_->alarm.Set(impl_->queue.get(), never_wait(), static_cast<Event*>(&impl_->woken));
}

void ShardLoop::connect(UniqueFd socket, ShardConnections::Process process) {
  // Shared, because a posted function can be copied.
  shard_.post([this, socket = std::make_shared<UniqueFd>(std::move(socket)),
               process = std::move(process)]() mutable {
    const int fd = socket->release();
    impl_->connections.connected(fd, std::move(process));
    grpc::AddInsecureChannelFromFd(impl_->server.get(), fd);
  });
}

void ShardLoop::disconnected(int number, std::function<void()> rested) {
  shard_.post([this, number, rested = std::move(rested)]() mutable {
    impl_->connections.disconnected(number, std::move(rested));
  });
}

void ShardLoop::announce_drain() {
  shard_.post([this] {
    for (const auto& service : impl_->services) service->draining();
  });
}

void ShardLoop::stop(std::uint64_t grace_ms) {
  if (!impl_->thread.joinable()) return;
  impl_->server->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(grace_ms));
  // Cancelled calls have events in the queue. Their handlers would start operations, such as a last
  // status. gRPC aborts when an operation or an alarm starts on a queue that is shut down. So the
  // loop leaves first, and the events that are left are dropped.
  impl_->leaving.store(true, std::memory_order_seq_cst);
  wake();
  impl_->thread.join();
  void* tag = nullptr;
  bool ok = false;
  // The flag stays set from here on, so no wake-up sets an alarm again. An alarm under way is
  // waited for.
  if (impl_->alarm_set.exchange(true, std::memory_order_seq_cst)) {
    while (tag != static_cast<Event*>(&impl_->woken)) impl_->queue->Next(&tag, &ok);
  }
  impl_->queue->Shutdown();
  while (impl_->queue->Next(&tag, &ok)) {}
  impl_->server.reset();
}

void ShardLoop::run() {
  pin_to(cpu_);
  pthread_setname_np(pthread_self(), ("shard-" + std::to_string(shard_.index().value)).c_str());
  grpc::ServerCompletionQueue& queue = *impl_->queue;
  for (const auto& service : impl_->services) service->serve(*impl_->context);

  using Next = grpc::CompletionQueue::NextStatus;
  void* tag = nullptr;
  bool ok = false;
  std::uint64_t now = now_ns();
  std::uint64_t timer = shard_.tick(now);
  std::uint64_t spin_until = 0;
  for (;;) {
    gpr_timespec deadline = never_wait();
    // A timer is due, or the loop spins: look at the queue without waiting.
    if (timer > now && now >= spin_until) deadline = wait_ns(std::min(timer - now, kLongestWaitNs));
    Next next = queue.AsyncNext(&tag, &ok, deadline);
    std::uint32_t events = 0;
    for (; next == Next::GOT_EVENT; next = queue.AsyncNext(&tag, &ok, never_wait())) {
      static_cast<Event*>(tag)->complete(ok);
      if (++events == kMostEventsInTurn) break;
    }
    if (impl_->leaving.load(std::memory_order_relaxed)) return;
    now = now_ns();
    if (next == Next::TIMEOUT) impl_->connections.queue_is_empty(now);
    timer =
        shard_.tick(now);  // answers waits that are over, so it comes before the end of the turn
    if (impl_->turn_end.run() || events != 0) shard_.end_turn();
    if (events != 0) {
      shard_.count_turn();
      spin_until = now + spin_us_.load(std::memory_order_relaxed) * 1000;
    }
  }
}

}  // namespace arenad::server
