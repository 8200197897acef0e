// TrimRounds: an arena is full, and everybody gives back what they can.
//
// Purpose: a trim round of an arena has these steps:
//   1. every shard publishes the frees that it gathered;
//   2. every shard trims, and says which session holds how much;
//   3. every shard retries what it has parked; this step and the next two only when the arena has
//      peers to ask;
//   4. if somebody still waits, the peers are asked on their KeepAlive streams to trim, and
//      everybody waits until all of them have answered, or trim_patience_ms is over;
//   5. the shards publish and trim again;
//   6. every shard retries what it has parked, and fails what may not wait.
// Invariants: an arena has at most one round at a time. What is parked while a round runs is for
// the next round, because memory may have come back behind this round. A peer that did not answer
// in time is not asked again before it has answered.
// Threads: the control thread.
// Crash: private memory of the daemon. A peer that dies has answered when its session has ended.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "server/core/control/control_core.h"

namespace arenad::server {

class TrimRounds {
 public:
  explicit TrimRounds(ControlCore& core) : core_(core) {}

  // A shard has parked a request under `ticket`: the next round must serve or fail it.
  void shard_needs_memory(ArenaId arena, ShardId shard, std::uint64_t ticket);
  // Somebody waits, and memory has come back: a round follows, 1 ms after the last at the earliest.
  void memory_returned(ArenaId arena);
  // A round for an administrator, although nobody waits: shards and peers give back what they can.
  Task<> trim(ArenaId arena);
  // A peer answers to the request of this number.
  void peer_trimmed(SessionId peer, std::uint64_t number, ArenaId arena);
  // The peer will not answer any more: its last stream is lost, or its session has ended.
  void peer_left(SessionId peer);
  // No shard knows the arena any more.
  void arena_removed(ArenaId arena);

 private:
  // The rounds of one arena.
  struct OfArena {
    OfArena(ArenaId arena, std::size_t shards) : id(arena), wanted(shards) {}
    const ArenaId id;
    bool running = false;
    bool again = false;  // one more round is wanted, or the pause before it has begun
    bool removed = false;
    std::vector<std::uint64_t> wanted;  // by shard: highest ticket that the next round serves
    std::uint64_t finished_ns = 0;
    std::uint64_t asked_ns = 0;
    std::uint64_t number = 0;   // of the last request to peers
    std::set<SessionId> asked;  // peers that have not answered
    Later<Nothing> all_answered;
  };
  using Shares = std::vector<SharesBySession>;  // by shard

  OfArena* find(ArenaId arena);
  std::shared_ptr<OfArena> find_or_make(ArenaId arena);
  Task<> run(std::shared_ptr<OfArena> of);
  Task<> run_after_pause(std::shared_ptr<OfArena> of);
  Task<> one_round(std::shared_ptr<OfArena> of);
  Task<Shares> trim_shards(ArenaId arena);
  std::vector<SessionId> peers_to_ask(ArenaId arena);
  Later<Nothing> ask(const std::shared_ptr<OfArena>& of, const std::vector<SessionId>& peers);
  Task<> lose_patience(std::shared_ptr<OfArena> of, std::uint64_t number);
  static void answered(OfArena& of, SessionId peer);

  ControlCore& core_;
  std::map<ArenaId, std::shared_ptr<OfArena>> by_arena_;
  std::uint64_t last_number_ = 0;
};

}  // namespace arenad::server
