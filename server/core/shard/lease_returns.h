// LeaseReturns: how a shard takes leased slabs back from a peer.
//
// Purpose: takes back slabs that a peer returns or that the peer has forgotten, and resumes a peer
//   whose connection was lost. LeaseGrant grants slabs.
// Invariants: Ledger::pass_run decides between two shards that are asked to take the same run back.
//   A returned run of which nothing is out goes back to the arena. A run with blocks out becomes a
//   slab of this shard's heap. A call of another epoch than the session's changes nothing.
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

class LeaseReturns {
 public:
  LeaseReturns(ShardTables& tables, ShardAccount& account, Turn& turn)
      : tables_(tables), account_(account), turn_(turn) {}

  // See ShardApi for the contract of both.
  Answer<ReturnedSlabs> return_slabs(const LeaseCaller& caller, std::span<const SlabIndex> slabs);
  Answer<ResumedLeases> resume(const LeaseCaller& caller, const ResumeArgs& known);

 private:
  // Heap ids of calls whose answers never arrived. Such a heap never owned anything.
  static void release_unnamed(Ledger& ledger, SessionId session, const std::vector<bool>& named);
  // Takes the run back if it is still leased to the session.
  bool take_back(const Access& access, SessionId session, SlabIndex first);

  ShardTables& tables_;
  ShardAccount& account_;
  Turn& turn_;
};

}  // namespace arenad::server
