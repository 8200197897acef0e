// RpcService: one gRPC service on one shard.
//
// Purpose: says what ShardLoop needs of a service, and what a service needs of its shard
// (ServeContext).
// Invariants: every shard has its own service objects. They share nothing.
// Threads: serve() and all later calls run on the shard's thread. Services are made and destroyed
// while no loop runs.
// Crash: nothing is shared.
#pragma once

#include <memory>

namespace grpc {
class Service;
class ServerCompletionQueue;
}  // namespace grpc

namespace arenad::server {

class ShardApi;
class ControlApi;
class TurnEnd;
class ShardConnections;
class ConnectionLimits;
class TlsUsers;
class UnansweredOfUser;

struct ServeContext {
  grpc::ServerCompletionQueue& queue;
  TurnEnd& turn_end;
  ShardApi& shard;
  const ShardConnections& connections;
  ConnectionLimits& limits;
  const TlsUsers& tls_users;
  UnansweredOfUser& unanswered;
};

class RpcService {
 public:
  virtual ~RpcService() = default;
  virtual grpc::Service& service() = 0;
  // Asks gRPC for the first calls. The context stays valid until the queue is drained.
  virtual void serve(ServeContext& context) = 0;
  // Called when the daemon begins to drain.
  virtual void draining() {}
};

}  // namespace arenad::server
