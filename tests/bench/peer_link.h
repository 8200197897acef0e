// PeerLink: a benchmark process attached as peer to an arena of its own making; and the options of
// bench_peer.
//
// Invariants: everything throws std::runtime_error with what the daemon said. close() demands that
//   nothing was left held.
// Threads: as ArenaHandle. Crash: the daemon gives back what the session held.
#pragma once

#include <cstdint>
#include <string>

#include "arenad/arenad.h"
#include "client/load/kernels/peer_context.h"
#include "tests/bench/subject.h"

namespace arenad::bench {

struct PeerOptions {
  Options common;
  std::string socket_dir;
  std::int32_t daemon_pid = 0;
};

// As parse_options, with --socket-dir DIR and --daemon-pid N.
PeerOptions parse_peer_options(int argc, char** argv);

template <class T>
T must(client::Answer<T>&& answer, const char* what) {
  if (!answer.ok()) throw std::runtime_error(std::string(what) + ": " + answer.error().text());
  return std::move(answer.value());
}

class PeerLink {
 public:
  // Attaches to `arena`, which is made when it is not there.
  explicit PeerLink(const PeerOptions& options, const std::string& arena = "bench",
                    std::uint64_t capacity_bytes = std::uint64_t{1} << 30);
  const client::Client& client() const { return client_; }
  const client::ArenaHandle& arena() const { return arena_; }
  void close();

 private:
  client::Client client_;
  client::Session session_;
  client::ArenaHandle arena_;
};

}  // namespace arenad::bench
