// FreeRounds: what was freed anywhere is taken back, before a call is refused for a limit.
//
// Purpose: a session pays for a block until the block is home again. A shard that frees another
//   shard's block gathers it first, and the owner drains it later. So an account can be too high
//   for a while. A free round makes every shard publish, and then drain. After it the accounts are
//   right but for what peers have gathered themselves.
// Invariants: requests that come during a round share the next one, and after each round there is a
//   rest. So however many calls are refused, rounds take a small part of the shards' time.
// Threads: the control thread.
// Crash: private memory of the daemon.
#pragma once

#include <cstdint>
#include <vector>

#include "server/core/control/control_core.h"

namespace arenad::server {

class FreeRounds {
 public:
  explicit FreeRounds(ControlCore& core) : core_(core) {}

  // Over when a round that began after this call is over.
  Later<Nothing> round();
  // A round, and then the shard that parked a call under `ticket` is told.
  void start_for(ArenaId arena, ShardId shard, std::uint64_t ticket);

 private:
  Task<> run_rounds();
  Task<> tell(Later<Nothing> over, ArenaId arena, ShardId shard, std::uint64_t ticket);

  ControlCore& core_;
  std::vector<Later<Nothing>> waiting_;  // for the next round
  bool under_way_ = false;
};

}  // namespace arenad::server
