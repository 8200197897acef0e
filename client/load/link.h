// Link: one worker's way to the daemon: connection, session, attached arena; and BlockIo, its calls
// in one of two ways.
//
// Invariants: everything here throws LoadError when the daemon refuses; the workers' threads and
// processes end with its text. Threads: a Link and its BlockIo belong to one thread. Crash: the
// daemon gives back what the session held.
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

  // Worker `index` of `options`: connects, opens a session named `name`, attaches as writer (over
  // TCP: as remote), in mode peer as peer, through the worker's shard, and notes the session in
  // `track`.
  static Link open(const Options& options, const std::string& arena, const std::string& name,
                   std::uint32_t index, Track& track);
  // Notes in `track` how many calls were made so far.
  void count_calls(Track& track) const {
    track.calls.store(client.calls_made(), std::memory_order_relaxed);
  }
  // Ends the session; what it still held is a leak and is counted in `track`.
  void close(Track& track);
};

// The shard that worker `index` connects to.
std::uint32_t shard_of(const Options& options, const client::Client& client, std::uint32_t index);

class BlockIo {
 public:
  BlockIo(const Link& link, Mode mode, std::uint32_t batch, Track& track);

  // Allocates `count` blocks into `out` (replaced), in messages of `batch` blocks.
  void allocate(std::uint64_t size, std::uint32_t count, std::vector<client::AllocatedBlock>& out);
  void allocate_sizes(std::span<const std::uint64_t> sizes,
                      std::vector<client::AllocatedBlock>& out);
  // Frees all; a ref that is refused fails the worker.
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

// Writes / checks a stamp in a block's first 8 bytes, where the arena is mapped and the block is
// large enough.
void stamp(const client::ArenaHandle& arena, const client::AllocatedBlock& block,
           std::uint64_t seed);
bool stamped(const client::ArenaHandle& arena, std::uint64_t ref, std::uint64_t offset,
             std::uint64_t size, std::uint64_t seed);

}  // namespace arenad::load
