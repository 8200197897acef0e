// UnknownMethods: answers calls of methods that no service has.
//
// Purpose: gRPC's own answer takes one such call at a time, and lets the others wait with all their
//   memory. This takes some at a time, says UNIMPLEMENTED, and counts the calls of each connection
//   (connection_limits.h).
// Invariants: calls are asked for until the server shuts down.
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

 private:
  class Call;
  void ask();
  static constexpr std::size_t kAsked = 16;

  grpc::AsyncGenericService service_;
  ServeContext* context_ = nullptr;
  std::size_t asked_ = 0;
  bool ending_ = false;  // the server shuts down
  CallPool<Call> calls_;
};

}  // namespace arenad::server
