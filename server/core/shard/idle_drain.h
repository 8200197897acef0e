// IdleDrain: the timer on which a shard's heaps take back blocks and give memory up.
//
// Purpose: a shard without calls would never drain. This timer does it, every idle_drain_ms. It
//   looks at the heaps that have slabs, and at their slabs. Arenas that nobody uses cost nothing.
// Threads: the shard's own. Crash: private.
#pragma once

#include <cstdint>

#include "server/core/shard/shard_account.h"
#include "server/core/shard/shard_tables.h"
#include "server/core/shard/shared_state.h"

namespace arenad::server {

class IdleDrain {
 public:
  IdleDrain(ShardTables& tables, ShardAccount& account, const ServerTunables& tunables)
      : tables_(tables), account_(account), tunables_(tunables) {}
  // Drains when it is time. Returns when the next call is due, monotonic nanoseconds.
  std::uint64_t tick(std::uint64_t now);
  // The next tick drains: there is a new arena, or the tunable changed.
  void restart() { next_ns_ = 0; }
  std::uint64_t count() const { return count_; }

 private:
  ShardTables& tables_;
  ShardAccount& account_;
  const ServerTunables& tunables_;
  std::uint64_t next_ns_ = 0;
  std::uint64_t count_ = 0;
};

}  // namespace arenad::server
