// Leases: what a peer's heaps and leased slabs become after they were granted.
//
// Purpose: opens heap ids, takes back slabs that a peer returns or that it has forgotten, and
//   resumes a peer whose connection was lost. LeaseCall grants slabs.
// Invariants: Ledger::pass_run decides between two shards that are asked to take the same run back.
//   A returned run of which nothing is out goes back to the arena. A run with blocks out becomes a
//   slab of this shard's heap.
// Threads: the shard's own.
// Crash: the ledger says who owns each run; the next daemon goes on from there.
#pragma once

#include <span>
#include <vector>

#include "server/core/api/data_plane.h"
#include "server/core/shard/shard_account.h"
#include "server/core/shard/shard_tables.h"
#include "server/core/shard/turn.h"

namespace arenad::server {

class Leases {
 public:
  Leases(ShardTables& tables, ShardAccount& account, Turn& turn)
      : tables_(tables), account_(account), turn_(turn) {}

  // See ShardApi for the contract of these three.
  Answer<HeapId> open_heap(SessionKey key, ArenaId arena_id);
  Answer<ReturnedSlabs> return_slabs(SessionKey key, ArenaId arena_id,
                                     std::span<const SlabIndex> slabs);
  Answer<ResumedLeases> resume(SessionKey key, ArenaId arena_id, std::span<const SlabIndex> slabs,
                               std::span<const HeapId> heaps);

 private:
  // Takes the run back if it is still leased to the session.
  bool take_back(const Access& access, SessionId session, SlabIndex first);
  // The strides of the blocks of the run that the session holds or shares.
  static std::uint64_t held_bytes(const Arena& arena, SlabIndex first, SessionId session);

  ShardTables& tables_;
  ShardAccount& account_;
  Turn& turn_;
};

}  // namespace arenad::server
