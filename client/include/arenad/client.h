// Client: the connections of one process to one daemon.
//
// Purpose: find the daemon, learn its shards, manage arenas. Session::open starts from a Client.
// Invariants: a Client has one connection to each shard that is used. A connection is made when it
//   is first needed, and everything that is opened from this Client shares it. Copies of a Client
//   are cheap and mean the same connections.
// Threads: any thread, at the same time. Calls block until the answer or the call timeout.
// fork: in a child every call answers FORKED, and destructors do nothing. gRPC's threads do not
//   exist in a child, so a child cannot connect anew. It can exec.
// Crash: the daemon ends the sessions of this process, and gives back what they held.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "arenad/allocator/base/export.h"
#include "arenad/types.h"

namespace arenad::client {

class ClientState;
class Session;

struct ConnectOptions {
  // The shard through which arenas are attached. kAnyShard: each attachment takes the next shard,
  // from a random start, so that processes spread over the shards.
  ShardId shard = kAnyShard;
  // How long to wait for a daemon that is not up yet. 0: fail at once.
  std::uint32_t wait_ready_ms = 0;
  // Of every call. AllocateOptions::wait_ms is added to it.
  std::uint32_t call_timeout_ms = 10'000;
  // Manage arenas and sessions as an administrator: over admin.sock, where this process may open
  // it. (Admin's calls always go over admin.sock where they can.)
  bool administrate = false;
};

class ARENAD_API Client {
 public:
  // Connected to nothing: every call answers FAILED_PRECONDITION.
  Client() = default;

  // Connects, and asks for the topology. `target` is the daemon's socket directory (/run/arenad), a
  // socket file, or a gRPC target (unix:/run/arenad/arenad.sock, 127.0.0.1:7470). An empty target
  // means $ARENAD_SOCKET, or /run/arenad when that is not set. The other sockets of the daemon are
  // looked for in the same directory, so a container may mount the directory anywhere. Over TCP all
  // calls go to one address, and only AttachMode::kRemote is possible.
  // Errors: UNAVAILABLE (no daemon answers), INVALID_ARGUMENT (no such shard).
  static Answer<Client> connect(std::string_view target = {}, const ConnectOptions& options = {});

  // As it was at connect.
  const Topology& topology() const;
  // Number of gRPC messages that this Client, and all that was opened from it, have sent since
  // connect. A peer in steady state sends none.
  std::uint64_t calls_made() const;

  // Errors: INVALID_NAME, INVALID_CAPACITY, ARENA_EXISTS, QUOTA_DAEMON, DRAINING.
  Answer<ArenaInfo> create_arena(std::string_view name, const ArenaOptions& options) const;
  // Errors: UNKNOWN_ARENA.
  Answer<ArenaInfo> get_arena(std::string_view name) const;
  // All arenas, in order of name.
  Answer<std::vector<ArenaInfo>> list_arenas() const;
  // `force`: even when sessions are attached. Errors: UNKNOWN_ARENA, ARENA_BUSY.
  Status delete_arena(std::string_view name, bool force = false) const;

  // Asks grpc.health.v1 whether the daemon serves. Errors: UNAVAILABLE (it starts, drains, or does
  // not answer).
  Status health() const;

 private:
  friend class Session;
  friend class Admin;
  std::shared_ptr<ClientState> state_;
};

}  // namespace arenad::client
