// ConnectionLimits: how much a connection may leave to its shard.
//
// Purpose: a connection whose client calls unknown methods without end, or does not take its
//   answers, is cut. gRPC 1.51 has no such limit: an unknown method costs as much as a known one,
//   and an answer that nobody takes keeps its call for ever.
// Invariants: a connection is told apart only when kFreeUntaken answers are under way, because
//   reading a call's connection costs 1 us. A client that keeps to kMostStreams is cut only when it
//   has taken nothing for kPatience, and kManyUntaken answers wait.
// Threads: the shard's own. Crash: nothing is shared.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string_view>
#include <utility>

#include "server/core/api/clock.h"
#include "server/rpc/connections/shard_connections.h"

namespace arenad::server {

class ConnectionLimits {
 public:
  // Of a connection. gRPC holds those clients to it that acknowledge its settings.
  static constexpr std::uint32_t kMostStreams = 1024;
  static constexpr std::uint32_t kMostUnknownCalls = 1000;  // of a connection, ever
  static constexpr std::uint32_t kManyUntaken = 256;        // answers of a connection
  static constexpr std::uint32_t kMostUntaken = kMostStreams + kManyUntaken;
  static constexpr std::uint64_t kPatienceNs = 5'000'000'000;
  static constexpr std::uint32_t kFreeUntaken = 256;  // answers of all connections
  static constexpr int kNotCharged = -1;

  // `cut` ends the connection with that number.
  using Cut = std::function<void(int number, const char* why)>;
  using Clock = std::uint64_t (*)();
  explicit ConnectionLimits(Cut cut, Clock clock = now_ns) : cut_(std::move(cut)), clock_(clock) {}

  // A call of an unknown method has come.
  void unknown_call(std::string_view peer);

  // The answer of a call leaves. `peer()` is ServerContext::peer(). The result goes to
  // answer_taken() when gRPC is done with the answer.
  template <class Peer>
  int answer_leaves(Peer peer) {
    return ++untaken_ <= kFreeUntaken ? kNotCharged : charge(descriptor_of(peer()));
  }
  void answer_taken(int charged) {
    --untaken_;
    if (charged != kNotCharged) discharge(charged);
  }

  // The connection has ended: its number may name another one later.
  void disconnected(int number) { counts_.erase(number); }

 private:
  struct Counts {
    std::uint32_t unknown_calls = 0;
    std::uint32_t untaken = 0;
    std::uint64_t taken_ns = 0;  // when the client took the newest answer, or the first one left
    bool cut = false;
  };
  int charge(int number);
  void discharge(int number);
  void cut(int number, Counts& counts, const char* why);

  const Cut cut_;
  const Clock clock_;
  std::map<int, Counts> counts_;
  std::uint32_t untaken_ = 0;
};

}  // namespace arenad::server
