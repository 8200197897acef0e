// grpc_log_to_spdlog: what gRPC itself writes goes to the daemon's log.
//
// Purpose: gRPC has a line of its own for much that a client does wrong, so any client could fill
//   the log. Here a second has one such line at most, and says how many were left out.
// Threads: called once, before gRPC starts. gRPC logs on any thread. Crash: nothing is shared.
#pragma once

namespace arenad::server {

void grpc_log_to_spdlog();

}  // namespace arenad::server
