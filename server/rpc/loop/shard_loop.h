// ShardLoop: the thread of one shard, with a gRPC server and a completion queue of its own.
//
// Purpose: turns the queue. One turn: wait for an event (or the shard's next timer, or a wake-up),
// take all events that are
//   ready, then end the turn: deferred writes leave, gathered remote frees are published. See
//   server/README.md for the measurements behind it.
// Invariants: nothing but this thread touches the shard, its services and its calls. No lock is
// taken here. Threads: start and stop by one thread; wake by any; the rest is private to the loop's
// thread. Crash: sockets stay behind and are replaced by the next daemon.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "server/core/api/api.h"
#include "server/rpc/services/rpc_service.h"

namespace arenad::server {

struct ShardLoopOptions {
  std::vector<std::string> addresses;  // gRPC targets to listen on: unix:<path>, host:port
  int cpu = -1;                        // to pin the thread to; -1: leave it to the scheduler
};

class ShardLoop final : public Waker {
 public:
  // `spin_us` is read in every turn: how long the loop polls before it sleeps.
  ShardLoop(ShardApi& shard, const std::atomic<std::uint64_t>& spin_us, ShardLoopOptions options);
  ~ShardLoop();
  ShardLoop(const ShardLoop&) = delete;
  ShardLoop& operator=(const ShardLoop&) = delete;

  // Listens, and starts the thread. Errors: kInvalidOption (an address that cannot be listened on).
  Answer<Nothing> start(std::vector<std::unique_ptr<RpcService>> services);
  // Any thread, after start.
  void wake() override;
  // Tells the services that the daemon drains. Any thread, between start and stop.
  void announce_drain();
  // Refuses new calls, gives those under way `grace_ms`, cancels the rest, ends the thread. wake()
  // does nothing after it. Call it when the engine has stopped. Idempotent.
  void stop(std::uint64_t grace_ms);

  // Host and port where a port 0 was asked for are settled by start.
  const std::vector<std::string>& addresses() const { return addresses_; }

 private:
  struct Impl;
  void run();

  ShardApi& shard_;
  const std::atomic<std::uint64_t>& spin_us_;
  std::vector<std::string> addresses_;
  const int cpu_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace arenad::server
