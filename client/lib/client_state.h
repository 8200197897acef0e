// ClientState: what all copies of one Client share. Private: includes gRPC headers.
//
// Purpose: the connections (one for control calls, one to each shard for blocks, others on demand),
//   and the one way to make a unary call.
// Invariants: control calls and block calls never share a connection. The KeepAlive stream's thread
//   always waits on the control connection, and would be woken for each answer of a block call.
//   Each Client has its own sockets.
// Threads: immutable after connect(), except for two atomics and the pending closes.
// fork: every call in the child answers FORKED. Crash: nothing is shared.
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
#include "client/lib/pending_closes.h"
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

  // The shard of a new attachment that asked for `wanted`. With kAnyShard: the client's shard, or
  // the next one in turn. Over TCP the answer is kAnyShard.
  Answer<ShardId> choose_shard(ShardId wanted);
  // `shard` is an answer of choose_shard.
  v1::Blocks::Stub& blocks(ShardId shard) { return *shards_[slot(shard)].blocks; }
  v1::Heaps::Stub& heaps(ShardId shard) { return *shards_[slot(shard)].heaps; }
  const std::shared_ptr<::grpc::Channel>& channel(ShardId shard) {
    return shards_[slot(shard)].channel;
  }
  // Another connection to the shard, which nobody else uses.
  std::shared_ptr<::grpc::Channel> new_channel(ShardId shard) const;

  // Makes a unary call. `extra_ms` is added to the call timeout.
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
    return away_explained(from_grpc((stub.*method)(&context, request, &response)));
  }
  // Closes the session as soon as the daemon is back.
  void close_later(const v1::SessionKey& key) { pending_closes_.add(*sessions_, key); }
  // Counts one message that somebody sends without call().
  void count_call() const { calls_.fetch_add(1, std::memory_order_relaxed); }
  std::uint64_t calls_made() const { return calls_.load(std::memory_order_relaxed); }

 private:
  struct ShardConnection {
    std::string address;
    std::shared_ptr<::grpc::Channel> channel;
    std::unique_ptr<v1::Blocks::Stub> blocks;
    std::unique_ptr<v1::Heaps::Stub> heaps;
  };
  // To admin.sock, where this process may open it. Else the channel that all may use.
  std::shared_ptr<::grpc::Channel> admin_channel(
      const std::shared_ptr<::grpc::Channel>& control) const;
  static std::size_t slot(ShardId shard) { return shard == kAnyShard ? 0 : shard.value; }

  Target target_;
  ConnectOptions options_;
  std::unique_ptr<v1::Arenas::Stub> arenas_;
  std::unique_ptr<v1::Sessions::Stub> sessions_;
  std::unique_ptr<v1::Admin::Stub> admin_;
  std::unique_ptr<::grpc::health::v1::Health::Stub> health_;
  Topology topology_;
  std::vector<ShardConnection> shards_;  // over TCP one: the target itself
  // Both order nothing, and pair with no other atomic.
  std::atomic<std::uint32_t> next_shard_;
  mutable std::atomic<std::uint64_t> calls_{0};
  PendingCloses pending_closes_;  // its thread ends before the stubs do
};

}  // namespace arenad::client
