// caller_of: who makes a call.
//
// Purpose: the process at the other end of a Unix socket, or the user of a client certificate.
// Threads: the shard's own. Crash: nothing is shared.
#pragma once

#include <grpcpp/server_context.h>

#include <string>

#include "server/rpc/connections/shard_connections.h"
#include "server/rpc/services/rpc_service.h"
#include "server/rpc/tls/tls_users.h"

namespace arenad::server {

// Costs a microsecond: for calls without a session, and for the start of a stream.
inline Caller caller_of(const ServeContext& serve, const grpc::ServerContext& call) {
  const std::string peer = call.peer();
  if (descriptor_of(peer) >= 0) return serve.connections.caller(peer);
  return serve.tls_users.caller(*call.auth_context());
}

}  // namespace arenad::server
