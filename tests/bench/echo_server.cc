// bench_echo: a gRPC server that does nothing, on the daemon's own shard loops and call objects.
//
//   bench_echo --socket-dir DIR [--shards N] [--spin-us N] [--layout servers|queues]
//
// Purpose: the yardstick. What a call of the daemon costs above this is the engine's; what this
// costs is gRPC's and the loop's. `--layout queues` is the plain alternative that was measured
// against it: one Server with a queue per thread. Prints "ready" when it serves, ends with 0 on
// SIGTERM.
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <pthread.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "echo.grpc.pb.h"
#include "server/core/shard/inbox.h"
#include "server/rpc/connections/connection_limits.h"
#include "server/rpc/connections/connections.h"
#include "server/rpc/connections/listener.h"
#include "server/rpc/connections/shard_connections.h"
#include "server/rpc/loop/shard_loop.h"
#include "server/rpc/loop/turn_end.h"
#include "server/rpc/machine/machine.h"
#include "server/rpc/services/unary_call.h"
#include "server/rpc/tls/tls_users.h"

namespace {

using namespace arenad;
using namespace arenad::server;
using arenad::bench::Echo;
using arenad::bench::EchoMessage;

// A shard without an engine.
class NoShard final : public ShardApi {
 public:
  explicit NoShard(ShardId index) : index_(index) {}
  ShardId index() const override { return index_; }
  void allocate(const AllocateArgs&, Done<AllocatedBlocks> done) override {
    done(Failure{Error::kInternal, "an echo"});
  }
  Answer<PerRefAnswer> free(SessionKey, ArenaId, UntrustedRefs, FreeScope) override {
    return PerRefAnswer{};
  }
  Answer<PerRefAnswer> acquire(SessionKey, ArenaId, UntrustedRefs, std::uint32_t) override {
    return PerRefAnswer{};
  }
  Answer<PerRefAnswer> share(SessionKey, ArenaId, UntrustedRefs) override { return PerRefAnswer{}; }
  Answer<PerRefAnswer> release(SessionKey, ArenaId, UntrustedRefs) override {
    return PerRefAnswer{};
  }
  Answer<HeapId> open_heap(const LeaseCaller&) override {
    return Failure{Error::kInternal, "an echo"};
  }
  void lease_slabs(const LeaseArgs&, Done<LeasedSlabs> done) override {
    done(Failure{Error::kInternal, "an echo"});
  }
  Answer<ReturnedSlabs> return_slabs(const LeaseCaller&, std::span<const SlabIndex>) override {
    return ReturnedSlabs{};
  }
  Answer<ResumedLeases> resume(const LeaseCaller&, const ResumeArgs&) override {
    return ResumedLeases{};
  }
  Answer<std::vector<arenad::BlockFacts>> describe(SessionKey, ArenaId, UntrustedRefs) override {
    return std::vector<arenad::BlockFacts>{};
  }
  void post(std::function<void()> task) override { inbox_.push(std::move(task)); }
  void run_inbox() override { inbox_.run(); }
  void end_turn() override {}
  std::uint64_t tick(std::uint64_t now_ns) override { return now_ns + 100'000'000; }
  void count_call() override {}
  void count_turn() override {}
  void set_waker(Waker* waker) { inbox_.set_waker(waker); }

 private:
  Inbox inbox_;  // new connections
  const ShardId index_;
};

class EchoService final : public RpcService {
 public:
  // A service of its own, or a part of a shared one.
  explicit EchoService(Echo::AsyncService* shared = nullptr)
      : service_(shared != nullptr ? *shared : own_) {}
  grpc::Service& service() override { return service_; }
  void serve(ServeContext& context) override { echo_.serve(context, 64); }

 private:
  Echo::AsyncService own_;
  Echo::AsyncService& service_;
  UnaryMethod<EchoMessage, EchoMessage> echo_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestEcho(ctx, request, writer, queue, queue, tag);
      },
      [](auto& call) {
        call.response().set_payload(call.request().payload());
        call.finish();
      }};
};

struct Options {
  std::string directory;
  std::string layout = "servers";
  Machine machine = this_machine();
  std::uint32_t shards = default_shards(machine);
  std::atomic<std::uint64_t> spin_us{0};
};

void wait_for_sigterm() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  int signal = 0;
  sigwait(&set, &signal);
}

std::string path(const Options& options, std::uint32_t shard) {
  return options.directory + "/shard-" + std::to_string(shard) + ".sock";
}

int failed(const Failure& failure) {
  std::fprintf(stderr, "bench_echo: %s\n", failure.message.c_str());
  return 1;
}

// As the daemon does it: one Server and one queue for each shard, and connections that the main
// thread accepts.
int serve_servers(const Options& options) {
  boost::asio::io_context io{1};
  Connections connections(io, true, UINT32_MAX);
  std::vector<std::unique_ptr<Listener>> listeners;
  std::vector<std::unique_ptr<NoShard>> shards;
  std::vector<std::unique_ptr<ShardLoop>> loops;
  for (std::uint32_t i = 0; i < options.shards; ++i) {
    shards.push_back(std::make_unique<NoShard>(ShardId{static_cast<std::uint16_t>(i)}));
    loops.push_back(std::make_unique<ShardLoop>(
        *shards[i], options.spin_us,
        ShardLoopOptions{.cpu = place_of_shard(options.machine, i).cpu}));
    std::vector<std::unique_ptr<RpcService>> services;
    services.push_back(std::make_unique<EchoService>());
    if (const auto started = loops[i]->start(std::move(services)); !started.ok())
      return failed(started.error());
    shards[i]->set_waker(loops[i].get());
    Listener::Host host;
    host.has_room = [&connections] { return connections.has_room(); };
    host.take = [&connections, &loop = *loops[i]](UniqueFd socket) {
      (void)connections.add(std::move(socket), loop, false);
    };
    auto listener = Listener::open(io, path(options, i), {0600, std::nullopt}, std::move(host));
    if (!listener.ok()) return failed(listener.error());
    listeners.push_back(std::move(*listener));
  }
  std::thread accepting([&io] { io.run(); });
  std::puts("ready");
  std::fflush(stdout);
  wait_for_sigterm();
  io.stop();
  accepting.join();
  for (const auto& shard : shards) shard->set_waker(nullptr);
  for (const auto& loop : loops) loop->stop(0);
  return 0;
}

// The plain alternative: one Server, a queue and a thread for each shard; gRPC deals calls out to
// the queues.
int serve_queues(const Options& options) {
  Echo::AsyncService service;
  grpc::ServerBuilder builder;
  for (std::uint32_t i = 0; i < options.shards; ++i)
    builder.AddListeningPort("unix:" + path(options, i), grpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues;
  for (std::uint32_t i = 0; i < options.shards; ++i) queues.push_back(builder.AddCompletionQueue());
  const auto server = builder.BuildAndStart();
  if (server == nullptr) {
    std::fprintf(stderr, "bench_echo: cannot listen in %s\n", options.directory.c_str());
    return 1;
  }
  std::vector<std::thread> threads;
  for (std::uint32_t i = 0; i < options.shards; ++i) {
    threads.emplace_back([&, i] {
      cpu_set_t set;
      CPU_ZERO(&set);
      CPU_SET(static_cast<std::size_t>(place_of_shard(options.machine, i).cpu), &set);
      pthread_setaffinity_np(pthread_self(), sizeof set, &set);
      NoShard shard(ShardId{static_cast<std::uint16_t>(i)});
      TurnEnd turn_end;
      const ShardConnections connections;  // gRPC has accepted them, so they are nobody's
      ConnectionLimits limits([](int, const char*) {});
      const TlsUsers users;
      UnansweredOfUser unanswered(SIZE_MAX);
      ServeContext context{*queues[i], turn_end, shard, connections, limits, users, unanswered};
      EchoService echo(&service);
      echo.serve(context);
      void* tag = nullptr;
      for (bool ok = false; queues[i]->Next(&tag, &ok);) static_cast<Event*>(tag)->complete(ok);
    });
  }
  std::puts("ready");
  std::fflush(stdout);
  wait_for_sigterm();
  server->Shutdown(std::chrono::system_clock::now());
  for (const auto& queue : queues) queue->Shutdown();
  for (std::thread& thread : threads) thread.join();
  return 0;
}

bool parse(int argc, char** argv, Options& options) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i], value = argv[i + 1];
    char* end = nullptr;
    const auto number = std::strtoul(value.c_str(), &end, 10);
    const bool is_number = !value.empty() && *end == '\0';
    if (name == "--socket-dir")
      options.directory = value;
    else if (name == "--layout" && (value == "servers" || value == "queues"))
      options.layout = value;
    else if (name == "--shards" && is_number && number > 0)
      options.shards = static_cast<std::uint32_t>(number);
    else if (name == "--spin-us" && is_number)
      options.spin_us = number;
    else
      return false;
  }
  return argc % 2 == 1 && !options.directory.empty();
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, options)) {
    std::fputs(
        "usage: bench_echo --socket-dir DIR [--shards N] [--spin-us N] [--layout servers|queues]\n",
        stderr);
    return 2;
  }
  // Before any thread starts, so that all of them leave it to sigwait.
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::setenv("GRPC_POLL_STRATEGY", "poll", 0);
  return options.layout == "servers" ? serve_servers(options) : serve_queues(options);
}
