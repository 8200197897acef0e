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
#include "server/rpc/connections/shard_connections.h"
#include "server/rpc/services/rpc_service.h"

namespace arenad::server {

struct ShardLoopOptions {
  std::string listen;  // a target that gRPC itself listens on, host:port; empty: none
  int cpu = -1;        // the cpu to pin the thread to; -1: do not pin
};

class ShardLoop final : public Waker {
 public:
  // `spin_us`: how long the loop polls before it sleeps. Every turn reads the value; SetTunables
  // writes it.
  ShardLoop(ShardApi& shard, const std::atomic<std::uint64_t>& spin_us, ShardLoopOptions options);
  ~ShardLoop() override;
  ShardLoop(const ShardLoop&) = delete;
  ShardLoop& operator=(const ShardLoop&) = delete;

  // Listens and starts the thread. Errors: kInvalidOption, an address on which it cannot listen.
  Answer<Nothing> start(std::vector<std::unique_ptr<RpcService>> services);
  // Wakes the loop out of its wait. Any thread, after start.
  void wake() override;
  // Serves a connection. gRPC has the descriptor from here on. Any thread, after start.
  void connect(UniqueFd socket, ShardConnections::Process process);
  // The connection of that number has ended. `rested` is called on the loop's thread when the
  // number may name another connection. Any thread, after start.
  void disconnected(int number, std::function<void()> rested);
  // Tells the services that the daemon drains. Any thread, after start and before stop.
  void announce_drain();
  // Refuses new calls, lets running calls go on for `grace_ms`, cancels the rest, and ends the
  // thread. wake() does nothing afterwards. Call stop when the engine has stopped. A second call
  // does nothing.
  void stop(std::uint64_t grace_ms);

  // As the options have it; start() replaces a port 0 by the port that the system chose.
  const std::string& listen() const { return listen_; }

 private:
  struct Impl;
  void run();

  ShardApi& shard_;
  const std::atomic<std::uint64_t>& spin_us_;
  std::string listen_;
  const int cpu_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace arenad::server
