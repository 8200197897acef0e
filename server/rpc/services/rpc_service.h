// RpcService: one gRPC service as one shard serves it.
//
// Purpose: what ShardLoop needs of a service, and what a service needs of its shard (ServeContext).
// Invariants: every shard has service objects of its own; nothing in them is shared.
// Threads: serve() and everything after it on the shard's thread; construction and destruction
// while no loop runs. Crash: nothing is shared.
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

struct ServeContext {
  grpc::ServerCompletionQueue& queue;
  TurnEnd& turn_end;
  ShardApi& shard;
};

class RpcService {
 public:
  virtual ~RpcService() = default;
  virtual grpc::Service& service() = 0;
  // Asks for the first calls. The context stays valid until the queue is drained.
  virtual void serve(ServeContext& context) = 0;
  // The daemon has begun to drain.
  virtual void draining() {}
};

}  // namespace arenad::server
