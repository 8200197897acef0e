// ShardLoop: the thread of one shard, with a gRPC server and a completion queue of its own.
//
// Purpose: turns the queue. A turn waits for an event, the shard's next timer or a wake-up. The
// turn then handles all events that are ready. At its end, delayed writes leave and gathered remote
// frees are published. server/README.md has the measurements behind this design.
// Invariants: only this thread touches the shard, its services and its calls. The loop takes no
// lock.
// Threads: one thread calls start and stop. Any thread calls wake, connect, disconnected and
// announce_drain. All else is private to the loop's thread.
// Crash: nothing is shared.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "allocator/base/unique_fd.h"
#include "server/core/api/api.h"
#include "server/core/api/limits.h"
#include "server/rpc/connections/connection_limits.h"
#include "server/rpc/connections/read_shares.h"
#include "server/rpc/connections/shard_connections.h"
#include "server/rpc/services/rpc_service.h"
#include "server/rpc/tls/tls_users.h"

namespace grpc {
class ServerCredentials;
}

namespace arenad::server {

struct ShardLoopOptions {
  int cpu = -1;  // the cpu to pin the thread to; -1: do not pin
  // Of connect_tcp with Tcp::kTls.
  std::shared_ptr<grpc::ServerCredentials> tls;
  TlsUsers tls_users;
  std::uint64_t max_user_unanswered_bytes = Limits().max_user_unanswered_bytes;
  // Ends a connection that takes too much. Called on the loop's thread.
  ConnectionLimits::Cut cut = [](int, const char*) {};
};

class ShardLoop final : public Waker {
 public:
  // `spin_us`: how long the loop polls before it sleeps. Every turn reads the value; SetTunables
  // writes it.
  ShardLoop(ShardApi& shard, const std::atomic<std::uint64_t>& spin_us, ShardLoopOptions options);
  ~ShardLoop() override;
  ShardLoop(const ShardLoop&) = delete;
  ShardLoop& operator=(const ShardLoop&) = delete;

  // Starts the thread. Errors: kInternal, gRPC does not start.
  Answer<Nothing> start(std::vector<std::unique_ptr<RpcService>> services);
  // Wakes the loop out of its wait. Any thread, after start.
  void wake() override;
  // Serves a connection. gRPC has the descriptor from here on. Any thread, after start.
  void connect(UniqueFd socket, ShardConnections::Process process);
  // The same over TCP. A client in plain text is nobody. With kTls it is who its certificate says,
  // and the options must have credentials.
  enum class Tcp : std::uint8_t { kPlaintext, kTls };
  void connect_tcp(UniqueFd socket, Tcp kind);
  // The connection of that number has ended. `rested` is called on the loop's thread when the
  // number may name another connection. Any thread, after start.
  void disconnected(int number, std::function<void()> rested);
  // Tells the services that the daemon drains. Any thread, after start and before stop.
  void announce_drain();
  // Refuses new calls, lets running calls go on for `grace_ms`, cancels the rest, and ends the
  // thread. wake() does nothing afterwards. Call stop when the engine has stopped. A second call
  // does nothing.
  void stop(std::uint64_t grace_ms);

  // Who reads on this shard, and how often gRPC has polled.
  ShardReads& reads() { return reads_; }
  // How often the loop has looked for events. Any thread.
  std::uint64_t steps() const { return steps_.load(std::memory_order_relaxed); }

 private:
  struct Impl;
  void run();
  void count_step();

  ShardApi& shard_;
  const std::atomic<std::uint64_t>& spin_us_;
  const int cpu_;
  ShardReads reads_;
  std::atomic<std::uint64_t> steps_{0};  // written by run(), read by steps()
  std::unique_ptr<Impl> impl_;
};

}  // namespace arenad::server
