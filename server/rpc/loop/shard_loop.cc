#include "server/rpc/loop/shard_loop.h"

#include <grpcpp/alarm.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/resource_quota.h>
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
#include "server/rpc/services/unanswered_of_user.h"
#include "server/rpc/services/unknown_methods.h"

namespace arenad::server {
namespace {

// A turn ends after this many events, even when more are ready. Gathered frees and delayed answers
// must not wait for ever.
constexpr std::uint32_t kMostEventsInTurn = 128;
// The longest sleep. It bounds what a missed timer could cost.
constexpr std::uint64_t kLongestWaitNs = 1'000'000'000;
// A request of Heaps.Resume may name a million slabs.
constexpr int kMaxRequestBytes = 8 << 20;
// What gRPC may take for the connections and calls of a shard, before it cancels some.
constexpr std::size_t kMostGrpcBytes = 512 << 20;
// One read of gRPC, and so the calls and frames that it takes in before it looks at others.
constexpr int kMostReadBytes = 16 << 10;
constexpr int kMostMetadataBytes = 8 << 10;
// For TLS, and for the first frame of a client over TCP.
constexpr int kHandshakeMs = 10'000;

// Each value differs from gRPC's default, or that default is what is wanted here.
void set_limits(grpc::ServerBuilder& builder) {
  grpc::ResourceQuota quota("arenad");
  quota.Resize(kMostGrpcBytes);
  builder.SetResourceQuota(quota);
  builder.SetMaxReceiveMessageSize(kMaxRequestBytes);
  // gRPC 1.51 holds a client to this only when the client has acknowledged it. ConnectionLimits and
  // FloodSigns are for clients that do not.
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                             static_cast<int>(ConnectionLimits::kMostStreams));
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMostMetadataBytes);
  builder.AddChannelArgument(GRPC_ARG_TCP_READ_CHUNK_SIZE, kMostReadBytes);
  builder.AddChannelArgument(GRPC_ARG_TCP_MAX_READ_CHUNK_SIZE, kMostReadBytes);
  // No strikes: gRPC makes a GOAWAY and an error for each PING that comes after the third, until
  // its last write is done, and that took 1.7 GB. Without them it stops reading at 10,000
  // unsent answers.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
  // A compressed message is refused by its header. It would be inflated before that, so nothing
  // is inflated.
  builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
  for (const auto algorithm : {GRPC_COMPRESS_DEFLATE, GRPC_COMPRESS_GZIP})
    builder.SetCompressionAlgorithmSupportStatus(algorithm, false);
}

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
  Impl(ShardLoop& owner, ShardLoopOptions options)
      : limits(std::move(options.cut)),
        unanswered(options.max_user_unanswered_bytes),
        tls(std::move(options.tls)),
        tls_users(std::move(options.tls_users)),
        woken(owner) {}

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
  ConnectionLimits limits;
  UnansweredOfUser unanswered;
  const std::shared_ptr<grpc::ServerCredentials> tls;
  const TlsUsers tls_users;
  std::unique_ptr<grpc::ServerCompletionQueue> queue;
  // Declared before the services: their streams use the context until they are destroyed.
  std::unique_ptr<ServeContext> context;
  std::vector<std::unique_ptr<RpcService>> services;
  UnknownMethods unknown_methods;
  std::unique_ptr<grpc::Server> server;
  // How connections over TCP come in. gRPC's own listener stops for ever when it once has no
  // descriptor.
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> plaintext_door, tls_door;
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
      cpu_(options.cpu),
      impl_(std::make_unique<Impl>(*this, std::move(options))) {}

ShardLoop::~ShardLoop() { stop(0); }

Answer<Nothing> ShardLoop::start(std::vector<std::unique_ptr<RpcService>> services) {
  grpc::ServerBuilder builder;
  using External = grpc::ServerBuilder::experimental_type::ExternalConnectionType;
  impl_->plaintext_door = builder.experimental().AddExternalConnectionAcceptor(
      External::FROM_FD, grpc::InsecureServerCredentials());
  if (impl_->tls != nullptr)
    impl_->tls_door =
        builder.experimental().AddExternalConnectionAcceptor(External::FROM_FD, impl_->tls);
  // A Unix socket has no bandwidth to probe.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  set_limits(builder);
  for (const auto& service : services) builder.RegisterService(&service->service());
  builder.RegisterAsyncGenericService(&impl_->unknown_methods.service());
  impl_->queue = builder.AddCompletionQueue();
  impl_->services = std::move(services);
  impl_->server = builder.BuildAndStart();
  if (impl_->server == nullptr) {
    impl_->queue->Shutdown();
    impl_->queue.reset();
    return Failure{Error::kInternal, "gRPC does not start: see the lines above"};
  }
  impl_->context = std::make_unique<ServeContext>(
      ServeContext{*impl_->queue, impl_->turn_end, shard_, impl_->connections, impl_->limits,
                   impl_->tls_users, impl_->unanswered});
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

void ShardLoop::connect_tcp(UniqueFd socket, Tcp kind) {
  shard_.post([this, socket = std::make_shared<UniqueFd>(std::move(socket)), kind]() mutable {
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
    connection.fd = socket->release();
    (kind == Tcp::kTls ? impl_->tls_door : impl_->plaintext_door)->HandleNewConnection(&connection);
  });
}

void ShardLoop::disconnected(int number, std::function<void()> rested) {
  shard_.post([this, number, rested = std::move(rested)]() mutable {
    impl_->connections.disconnected(number, std::move(rested));
    impl_->limits.disconnected(number);
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

// Only this thread writes. Pairs with the load in steps().
void ShardLoop::count_step() {
  steps_.store(steps_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

void ShardLoop::run() {
  pin_to(cpu_);
  count_polls_of_this_thread(&reads_);
  pthread_setname_np(pthread_self(), ("shard-" + std::to_string(shard_.index().value)).c_str());
  grpc::ServerCompletionQueue& queue = *impl_->queue;
  for (const auto& service : impl_->services) service->serve(*impl_->context);
  impl_->unknown_methods.serve(*impl_->context);

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
      count_step();
      static_cast<Event*>(tag)->complete(ok);
      if (++events == kMostEventsInTurn) break;
    }
    count_step();
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
