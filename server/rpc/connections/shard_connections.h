// ShardConnections: which process is behind each connection of one shard.
//
// Purpose: gRPC calls a connection by its descriptor, "fd:17" (grpc::ServerContext::peer). This
//   says who made the connection with that number.
// Invariants: a number is given to another connection only after it has rested. The rest ends when
//   the shard has found its queue empty twice, a second apart. At that time no call of the old
//   connection is left: what came over the connection before its end is in the queue, or was asked
//   for already, because a call of each method is asked for at all times (unary_call.h).
// Threads: the shard's own. Crash: nothing is shared.
#pragma once

#include <charconv>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "server/core/handoff/caller_process.h"

namespace arenad::server {

// The number in gRPC's name of a connection ("fd:17"); -1 for TCP. `peer` is
// ServerContext::peer().
inline int descriptor_of(std::string_view peer) {
  constexpr std::string_view kPrefix = "fd:";
  int number = -1;
  if (peer.starts_with(kPrefix))
    std::from_chars(peer.data() + kPrefix.size(), peer.data() + peer.size(), number);
  return number;
}

class ShardConnections {
 public:
  using Process = std::shared_ptr<const CallerProcess>;

  void connected(int number, Process process) {
    processes_.insert_or_assign(number, std::move(process));
  }
  // `rested` is called when the number may be used again.
  void disconnected(int number, std::function<void()> rested) {
    processes_.erase(number);
    resting_.push_back({0, std::move(rested)});
  }
  // Null for TCP, and for a connection that has ended. `peer` is ServerContext::peer().
  Process of(std::string_view peer) const {
    const auto found = processes_.find(descriptor_of(peer));
    return found == processes_.end() ? nullptr : found->second;
  }
  // Who made the connection: nobody() for TCP, and when it has ended.
  Caller caller(std::string_view peer) const {
    if (Process process = of(peer)) return process;
    return nobody();
  }
  // The shard has found no event in its queue.
  void queue_is_empty(std::uint64_t now_ns) {
    std::erase_if(resting_, [now_ns](Resting& resting) {
      if (resting.since_ns == 0) resting.since_ns = now_ns;
      if (now_ns - resting.since_ns < kRestNs) return false;
      resting.rested();
      return true;
    });
  }

 private:
  struct Resting {
    std::uint64_t since_ns;  // when the queue was found empty for the first time; 0: not yet
    std::function<void()> rested;
  };
  static constexpr std::uint64_t kRestNs = 1'000'000'000;

  std::map<int, Process> processes_;
  std::vector<Resting> resting_;
};

}  // namespace arenad::server
