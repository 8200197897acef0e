// Where a daemon is: from what a user writes to gRPC targets of this process.
//
// Purpose: parse_target reads a socket directory, a socket file or a gRPC target. rebase finds the
//   daemon's other sockets beside the given one: a container may mount the directory elsewhere than
//   the daemon does.
// Invariants: `directory` is empty exactly when the daemon is not reached through a socket file.
// Threads: pure functions; parse_target reads the environment and the file system.
// Crash: nothing is shared.
#pragma once

#include <string>
#include <string_view>

namespace arenad::client {

struct Target {
  std::string grpc_target;  // "unix:/run/arenad/arenad.sock"
  std::string directory;    // "/run/arenad"; empty for TCP and abstract sockets
};

// An empty text means $ARENAD_SOCKET, or /run/arenad when that is not set.
Target parse_target(std::string_view text);

// Moves an address that the daemon gave ("unix:/path/file" or "/path/file") to target.directory, if
// it lies in the same directory as the daemon's own `common_address`. Else it stays as it is.
std::string rebase(const Target& target, std::string_view common_address, std::string_view address);

}  // namespace arenad::client
