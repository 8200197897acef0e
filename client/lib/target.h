// Where a daemon is: what a user writes, as gRPC targets of this process.
//
// Purpose: parse_target (socket directory, socket file or gRPC target), and rebase, which finds the
// daemon's other sockets
//   beside the one that was given: a container may have the directory mounted elsewhere than the
//   daemon has it.
// Invariants: directory is empty exactly when the daemon is not reached through a socket file.
// Threads: pure functions (parse_target reads the environment and the file system). Crash: nothing
// is shared.
#pragma once

#include <string>
#include <string_view>

namespace arenad::client {

struct Target {
  std::string grpc_target;  // "unix:/run/arenad/arenad.sock"
  std::string directory;    // "/run/arenad"; empty for TCP and abstract sockets
};

// Empty text: $ARENAD_SOCKET, else /run/arenad.
Target parse_target(std::string_view text);

// `address` ("unix:/path/file" or "/path/file") as the daemon gave it, moved to target.directory
// when it lies in the same directory as the daemon's own `common_address`. Otherwise unchanged.
std::string rebase(const Target& target, std::string_view common_address, std::string_view address);

}  // namespace arenad::client
