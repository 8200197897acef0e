// BlockCalls: what a session does with blocks that exist: free, acquire, share, release, describe.
//
// Purpose: each ref of a call has its own outcome; a failed ref does not stop the others.
// Threads: the shard's own.
// Crash: a free that was gathered and not yet published is announced by the reaper.
#pragma once

#include <cstdint>
#include <vector>

#include "server/core/api/data_plane.h"
#include "server/core/shard/payer_changes.h"
#include "server/core/shard/shard_account.h"
#include "server/core/shard/shard_tables.h"
#include "server/core/shard/shared_state.h"
#include "server/core/shard/turn.h"

namespace arenad::server {

class BlockCalls {
 public:
  BlockCalls(ShardTables& tables, ShardAccount& account, PayerChanges& payer_changes, Turn& turn,
             const SharedState& shared)
      : tables_(tables),
        account_(account),
        payer_changes_(payer_changes),
        turn_(turn),
        shared_(shared) {}

  Answer<PerRefAnswer> free(SessionKey key, ArenaId arena_id, UntrustedRefs refs, FreeScope scope);
  Answer<PerRefAnswer> acquire(SessionKey key, ArenaId arena_id, UntrustedRefs refs,
                               std::uint32_t tag);
  Answer<PerRefAnswer> share(SessionKey key, ArenaId arena_id, UntrustedRefs refs);
  Answer<PerRefAnswer> release(SessionKey key, ArenaId arena_id, UntrustedRefs refs);
  Answer<std::vector<BlockFacts>> describe(SessionKey key, ArenaId arena_id, UntrustedRefs refs);

 private:
  // Errors: those of ShardTables::admit; kInvalidCount when there are too many refs.
  Error admit(SessionKey key, ArenaId arena_id, Need need, UntrustedRefs refs, Access& out);
  Failure refusal(Error e, SessionKey key, ArenaId arena_id, UntrustedRefs refs);
  // Notes in `changes` who pays for the block from here on.
  Error acquire_one(const Access& access, UntrustedRef ref, Holder to,
                    PayerChanges::Batch& changes);
  Error share_one(const Access& access, UntrustedRef ref, SessionId session);
  // Why a session that shares nothing in the arena may not begin; error kNone when it may.
  // Two shards may let one session each in at once. What peers write there themselves counts.
  Failure sharers_full(const Access& access, SessionId session);

  ShardTables& tables_;
  ShardAccount& account_;
  PayerChanges& payer_changes_;
  Turn& turn_;
  const SharedState& shared_;
};

}  // namespace arenad::server
