// ClientState: what all copies of one Client share. Private: includes gRPC headers.
//
// Purpose: the connections: one for control calls, one per shard for blocks, and fresh ones on
// demand; and the one way to
//   make a unary call.
// Invariants: control calls and blocks never share a connection: the KeepAlive stream's thread
// waits on the control
//   connection all the time and would otherwise take the data path's wake-ups. Each Client has
//   sockets of its own.
// Threads: immutable after connect() but for two atomics. fork: every call in the child answers
// FORKED. Crash: nothing is shared.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "arenad/client.h"
#include "arenad/v1/admin.grpc.pb.h"
#include "arenad/v1/arenas.grpc.pb.h"
#include "arenad/v1/blocks.grpc.pb.h"
#include "arenad/v1/heaps.grpc.pb.h"
#include "arenad/v1/sessions.grpc.pb.h"
#include "client/lib/convert.h"
#include "client/lib/fork_guard.h"
#include "client/lib/target.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace arenad::client {

gpr_timespec deadline_after(std::uint64_t ms);

class ClientState : public Pinned {
 public:
  ClientState(Target target, const ConnectOptions& options);

  Status connect();  // once, before anything else

  const Topology& topology() const { return topology_; }
  std::uint32_t call_timeout_ms() const { return options_.call_timeout_ms; }

  v1::Arenas::Stub& arenas() { return *arenas_; }
  v1::Sessions::Stub& sessions() { return *sessions_; }
  v1::Admin::Stub& admin() { return *admin_; }
  ::grpc::health::v1::Health::Stub& health() { return *health_; }

  // Where an attachment goes that asked for `wanted`: that shard, the client's, or the next one.
  // kAnyShard over TCP.
  Answer<std::uint32_t> choose_shard(std::uint32_t wanted);
  // `shard` as choose_shard gave it.
  v1::Blocks::Stub& blocks(std::uint32_t shard) { return *shards_[slot(shard)].blocks; }
  v1::Heaps::Stub& heaps(std::uint32_t shard) { return *shards_[slot(shard)].heaps; }
  const std::shared_ptr<::grpc::Channel>& channel(std::uint32_t shard) {
    return shards_[slot(shard)].channel;
  }
  std::shared_ptr<::grpc::Channel> new_channel(std::uint32_t shard) const;

  template <class Stub, class Request, class Response>
  Status call(Stub& stub,
              ::grpc::Status (Stub::*method)(::grpc::ClientContext*, const Request&, Response*),
              const Request& request, Response& response, std::uint32_t extra_ms = 0) const {
    return call_within(stub, method, request, response,
                       std::uint64_t{options_.call_timeout_ms} + extra_ms);
  }
  template <class Stub, class Request, class Response>
  Status call_within(Stub& stub,
                     ::grpc::Status (Stub::*method)(::grpc::ClientContext*, const Request&,
                                                    Response*),
                     const Request& request, Response& response, std::uint64_t timeout_ms) const {
    if (forked()) return forked_status();
    ::grpc::ClientContext context;
    context.set_deadline(deadline_after(timeout_ms));
    count_call();
    return from_grpc((stub.*method)(&context, request, &response));
  }
  // For those who send by themselves: one message.
  void count_call() const { calls_.fetch_add(1, std::memory_order_relaxed); }
  std::uint64_t calls_made() const { return calls_.load(std::memory_order_relaxed); }

 private:
  struct ShardConnection {
    std::string address;
    std::shared_ptr<::grpc::Channel> channel;
    std::unique_ptr<v1::Blocks::Stub> blocks;
    std::unique_ptr<v1::Heaps::Stub> heaps;
  };
  std::size_t slot(std::uint32_t shard) const { return shard == kAnyShard ? 0 : shard; }

  Target target_;
  ConnectOptions options_;
  std::unique_ptr<v1::Arenas::Stub> arenas_;
  std::unique_ptr<v1::Sessions::Stub> sessions_;
  std::unique_ptr<v1::Admin::Stub> admin_;
  std::unique_ptr<::grpc::health::v1::Health::Stub> health_;
  Topology topology_;
  std::vector<ShardConnection> shards_;  // over TCP: one, the target itself
  std::atomic<std::uint32_t> next_shard_;
  mutable std::atomic<std::uint64_t> calls_{0};  // counts, and publishes nothing
};

}  // namespace arenad::client
