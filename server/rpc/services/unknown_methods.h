// UnknownMethods: answers calls of methods that no service has.
//
// Purpose: gRPC's own answer takes one such call at a time, and lets the others wait with all their
//   memory. This takes some at a time, says UNIMPLEMENTED, and counts the calls of each connection
//   (connection_limits.h).
// Invariants: at most kAsked calls are answered before the shard looks at its connections again.
//   gRPC does not look while its queue has an event, and a call that waits is an event at once.
// Threads: the shard's own. Crash: nothing is shared.
#pragma once

#include <grpcpp/generic/async_generic_service.h>

#include <cstddef>
#include <memory>

#include "server/rpc/services/call_pool.h"
#include "server/rpc/services/rpc_service.h"

namespace arenad::server {

class UnknownMethods {
 public:
  UnknownMethods();
  ~UnknownMethods();

  grpc::AsyncGenericService& service() { return service_; }
  // Asks gRPC for the first calls. The context stays valid until the queue is drained.
  void serve(ServeContext& context);
  // The shard has found its queue empty, and so has looked at its connections.
  void queue_is_empty();

 private:
  class Call;
  static constexpr std::size_t kAsked = 16;

  grpc::AsyncGenericService service_;
  ServeContext* context_ = nullptr;
  std::size_t asked_ = 0;
  bool ending_ = false;  // the server shuts down
  CallPool<Call> calls_;
};

}  // namespace arenad::server
