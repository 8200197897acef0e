// ShardAccount: what one shard writes down about who holds how much.
//
// Purpose: every allocation, free and change of holder is written down here in two places at once:
//   the charges in Account, which all shards share, and this shard's own HeldShare.
// Invariants: a block in a run that is leased to its holder is paid for by the lease, so that block
//   is charged to nobody. Shares say nothing in arenas that count from the words, see
//   ArenaState::counts_from_words.
// Threads: the shard's own. Crash: private; see account.h.
#pragma once

#include <cstdint>

#include "server/core/shard/account.h"
#include "server/core/shard/shard_tables.h"

namespace arenad::server {

class ShardAccount {
 public:
  ShardAccount(ShardTables& tables, Account& account) : tables_(tables), account_(account) {}

  // Whether a block in the slab is paid for by a lease of the session.
  static bool pays_by_lease(const ArenaSlot& slot, SlabIndex slab, SessionId session) {
    return slot.arena.ledger().run(slab).owner() == RunOwner::leased_to(session);
  }

  // Before memory is given. Errors: those of Account::charge.
  Error charge(SessionId session, std::uint64_t bytes) { return account_.charge(session, bytes); }
  // A charge whose memory was not given, or memory that is not the session's any more.
  void credit(SessionId session, std::uint64_t bytes) { account_.credit(session, bytes); }

  // Blocks that were charged are the session's now. `bytes` is the sum of their strides.
  void gave(const Access& access, std::uint64_t blocks, std::uint64_t bytes) {
    const auto n = static_cast<std::int64_t>(blocks), b = static_cast<std::int64_t>(bytes);
    access.attached->held.add(n, b);
    access.slot->held.add(n, b);
  }
  // Blocks that `holder` held and that no lease paid for are the holder's no more.
  void took(ArenaSlot& slot, SessionId holder, std::uint64_t blocks, std::uint64_t bytes) {
    const auto n = static_cast<std::int64_t>(blocks), b = static_cast<std::int64_t>(bytes);
    // A holder that is not in the tables is being reaped. Its share and its charge went with it,
    // and the reaper counts what it held.
    if (SessionSlot* session = tables_.session(holder)) {
      if (Attached* attached = session->find(slot.id)) attached->held.add(-n, -b);
      account_.credit(holder, bytes);
    }
    slot.held.add(-n, -b);
  }
  // A lease of the session ended while the session still holds `held_bytes` in blocks of that run.
  void lease_became_blocks(SessionId session, std::uint64_t lease_bytes, std::uint64_t held_bytes) {
    account_.move(session, lease_bytes, session, held_bytes);
  }

  // An error of charge, with the particulars.
  Failure refusal(Error e, SessionKey session) const;

 private:
  ShardTables& tables_;
  Account& account_;
};

// Adds up frees of one holder and writes them down together: neighbours in a call mostly had one
// holder.
class FreesOfOneHolder {
 public:
  FreesOfOneHolder(ShardAccount& account, ArenaSlot& slot) : account_(account), slot_(slot) {}
  ~FreesOfOneHolder() { settle(); }
  FreesOfOneHolder(const FreesOfOneHolder&) = delete;
  FreesOfOneHolder& operator=(const FreesOfOneHolder&) = delete;
  void add(SessionId holder, std::uint64_t stride_bytes) {
    if (holder != holder_) {
      settle();
      holder_ = holder;
    }
    ++blocks_;
    bytes_ += stride_bytes;
  }

 private:
  void settle() {
    if (blocks_ != 0) account_.took(slot_, holder_, blocks_, bytes_);
    blocks_ = bytes_ = 0;
  }
  ShardAccount& account_;
  ArenaSlot& slot_;
  SessionId holder_;
  std::uint64_t blocks_ = 0, bytes_ = 0;
};

}  // namespace arenad::server
