// Adoptions: a shard's heap takes over runs of heaps that work no more.
//
// Purpose: the runs that a dead session had leased, or that an earlier daemon's heaps owned, become
//   slabs of this shard. It happens in steps, so that the shard answers other calls in between.
// Invariants: each run is somebody's at any moment. A run of an arena that was deleted meanwhile is
//   left alone, also when another arena has got that arena's id.
// Threads: the shard's own.
// Crash: an adoption that is cut short is begun again by the next daemon.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "server/core/shard/inbox.h"
#include "server/core/shard/shard_account.h"
#include "server/core/shard/shard_tables.h"

namespace arenad::server {

class Adoptions {
 public:
  using Done = std::function<void(const ReapResult&)>;

  Adoptions(ShardTables& tables, ShardAccount& account, Inbox& inbox)
      : tables_(tables), account_(account), inbox_(inbox) {}

  // Adopts the runs. What `dead` holds in them is given back, and `paid_by` pays for what stays
  // out. A run that `dead` has leased is paid for by its lease no more. `done` runs on the shard's
  // thread, inside the call when one step is enough.
  void begin(std::shared_ptr<ArenaState> state, SessionId dead, PaidBy paid_by,
             std::vector<SlabIndex> runs, Done done);

 private:
  struct Adoption;
  void step(const std::shared_ptr<Adoption>& adoption);

  ShardTables& tables_;
  ShardAccount& account_;
  Inbox& inbox_;
};

}  // namespace arenad::server
