// Client: the connections of one process to one daemon.
//
// Purpose: find the daemon, learn its shards, manage arenas, open sessions.
// Invariants: one connection per shard that was used, made when first needed and shared by
// everything opened from this
//   Client. Copies are cheap and mean the same connections.
// Threads: any thread, at once. Calls block until the answer or the call's timeout.
// fork: in a child every call answers FORKED and destructors do nothing; it can exec. gRPC's
// threads are not there in a child,
//   so connecting anew is refused too.
// Crash: the daemon ends this process's sessions and gives back what they held.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "arenad/types.h"

namespace arenad::client {

class ClientState;
class Session;

struct ConnectOptions {
  // The shard that arenas are attached through. kAnyShard: each attachment takes the next one, from
  // a random start, so that processes spread over the shards.
  std::uint32_t shard = kAnyShard;
  std::uint32_t wait_ready_ms =
      0;  // wait so long for a daemon that is not up yet; 0 = fail at once
  std::uint32_t call_timeout_ms = 10'000;  // of every call; AllocateOptions::wait_ms comes on top
};

class Client {
 public:
  Client() = default;  // connected to nothing; every call answers FAILED_PRECONDITION

  // Connects and asks for the topology. `target`: the daemon's socket directory (/run/arenad), a
  // socket file, or a gRPC target (unix:/run/arenad/arenad.sock, 127.0.0.1:7470). Empty:
  // $ARENAD_SOCKET, else /run/arenad. Through a socket directory, shards and the handoff socket are
  // looked for beside it, so a container may have it mounted elsewhere than the daemon. Over TCP
  // all calls go to the one address, and only AttachMode::kRemote is possible. Errors: UNAVAILABLE
  // (nobody answers there), INVALID_ARGUMENT (no such shard).
  static Answer<Client> connect(std::string_view target = {}, const ConnectOptions& options = {});

  const Topology& topology() const;  // as of connect
  // gRPC messages that this Client and everything opened from it have sent since connect: a peer in
  // steady state sends none.
  std::uint64_t calls_made() const;

  // Errors: INVALID_NAME, INVALID_CAPACITY, ARENA_EXISTS, QUOTA_DAEMON, DRAINING.
  Answer<ArenaInfo> create_arena(std::string_view name, const ArenaOptions& options) const;
  Answer<ArenaInfo> get_arena(std::string_view name) const;  // UNKNOWN_ARENA
  Answer<std::vector<ArenaInfo>> list_arenas() const;        // all of them, in order of name
  Status delete_arena(std::string_view name,
                      bool force = false) const;  // UNKNOWN_ARENA, ARENA_BUSY

  // Whether the daemon serves (grpc.health.v1); UNAVAILABLE with the reason when it does not, or
  // does not answer.
  Status health() const;

 private:
  friend class Session;
  friend class Admin;
  std::shared_ptr<ClientState> state_;
};

}  // namespace arenad::client
