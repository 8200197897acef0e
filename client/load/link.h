// Link: one worker's way to the daemon: connection, session and attached arena. BlockIo: the
// worker's calls, unary or as a stream.
//
// Invariants: all functions throw LoadError when the daemon refuses. The worker then ends with the
//   text of that error.
// Threads: a Link and its BlockIo belong to one thread. Crash: the daemon gives back what the
//   session held.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "arenad/arenad.h"
#include "client/load/options.h"
#include "client/load/track.h"

namespace arenad::load {

struct LoadError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <class T>
T&& or_throw(client::Answer<T>&& answer, const char* what) {
  if (!answer.ok()) throw LoadError(std::string(what) + ": " + answer.error().text());
  return std::move(answer.value());
}
inline void or_throw(const client::Status& status, const char* what) {
  if (!status.ok()) throw LoadError(std::string(what) + ": " + status.text());
}

struct Link {
  client::Client client;
  client::Session session;
  client::ArenaHandle arena;

  // Connects worker `index`, opens a session named `name`, and attaches through the worker's shard.
  // It attaches as peer in mode peer, as remote over TCP, else as writer. `track` gets the session.
  static Link open(const Options& options, const std::string& arena, const std::string& name,
                   std::uint32_t index, Track& track);
  // Writes the number of calls so far into `track`.
  void count_calls(Track& track) const {
    track.calls.store(client.calls_made(), std::memory_order_relaxed);
  }
  // Ends the session. Blocks that the session still held are leaks; `track` counts them.
  void close(Track& track);
};

// The shard that worker `index` connects to.
client::ShardId shard_of(const Options& options, const client::Client& client, std::uint32_t index);

class BlockIo {
 public:
  BlockIo(const Link& link, Mode mode, std::uint32_t batch, Track& track);

  // Allocates `count` blocks, in messages of `batch` blocks. Replaces the content of `out`.
  void allocate(std::uint64_t size, std::uint32_t count, std::vector<client::AllocatedBlock>& out);
  void allocate_sizes(std::span<const std::uint64_t> sizes,
                      std::vector<client::AllocatedBlock>& out);
  // Frees all. A refused ref fails the worker.
  void free(std::span<const Ref> refs);

 private:
  void timed(std::uint64_t begin_ns);
  const Link& link_;
  const client::ArenaHandle& arena_;
  std::uint32_t batch_;
  Track& track_;
  std::optional<client::Exchange> stream_;
  client::ExchangeReply reply_;
};

std::uint64_t now_ns();

// What a stamp of the block with this ref holds.
std::uint64_t stamp_of(std::uint64_t ref, std::uint64_t seed);
// Writes and checks a stamp in a block's first 8 bytes. Does nothing when the arena is not mapped
// or the block is too small.
void stamp(const client::ArenaHandle& arena, const client::AllocatedBlock& block,
           std::uint64_t seed);
bool stamped(const client::ArenaHandle& arena, std::uint64_t ref, std::uint64_t offset,
             std::uint64_t size, std::uint64_t seed);

}  // namespace arenad::load
