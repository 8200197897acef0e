// ShardAccount: what one shard writes down about who pays for what, and who holds how much.
//
// Purpose: two kinds of notes. Charges go to Account, which all shards share. Shares (HeldShare)
//   are this shard's own, and say who holds how much.
// Invariants: a call charges before it gets memory. The heap's Payments say what really left and
//   came home, and settle() takes them over. So a charge is no estimate: after spent() the account
//   has what the heap knows. A block of a leased run is paid for by the lease, and is charged to
//   nobody. Shares say nothing in arenas that count from the words, see
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

  // Before memory is given. Errors: those of Account::charge.
  Error charge(SessionId session, std::uint64_t bytes) { return account_.charge(session, bytes); }
  // A charge is over in one of three ways. Its memory was given:
  void given(SessionId session, std::uint64_t bytes) { account_.settled(session, bytes); }
  // Its memory was not given:
  void withdraw(SessionId session, std::uint64_t bytes) {
    account_.credit(session, bytes);
    account_.settled(session, bytes);
  }
  // The heap was asked for it, and has noted itself what it gave:
  void spent(ArenaSlot& slot, SessionId session, std::uint64_t bytes) {
    replace(slot, session, bytes);
    account_.settled(session, bytes);
  }
  // What the heap has noted takes the place of a lease, or of a charge.
  void replace(ArenaSlot& slot, SessionId session, std::uint64_t bytes) {
    slot.heap.payments().add(session, -static_cast<std::int64_t>(bytes));
    settle(slot);
  }
  // For memory that is no longer out.
  void credit(SessionId session, std::uint64_t bytes) { account_.credit(session, bytes); }
  // Charges and credits what has left the heap and come home to it. To be called after each call
  // that may have taken blocks back.
  void settle(ArenaSlot& slot) {
    slot.heap.payments().take(
        [this](SessionId payer, std::int64_t bytes) { account_.add(payer, bytes); });
  }

  // Blocks are the session's now. `bytes` is the sum of their strides.
  void gave(const Access& access, std::uint64_t blocks, std::uint64_t bytes) {
    const auto n = static_cast<std::int64_t>(blocks), b = static_cast<std::int64_t>(bytes);
    access.attached->held.add(n, b);
    access.slot->held.add(n, b);
  }
  // Blocks that `holder` held are the holder's no more.
  void took(ArenaSlot& slot, SessionId holder, std::uint64_t blocks, std::uint64_t bytes) {
    const auto n = static_cast<std::int64_t>(blocks), b = static_cast<std::int64_t>(bytes);
    // A holder that is not in the tables is being reaped. Its share went with it.
    if (SessionSlot* session = tables_.session(holder))
      if (Attached* attached = session->find(slot.id)) attached->held.add(-n, -b);
    slot.held.add(-n, -b);
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
  ~FreesOfOneHolder() { note(); }
  FreesOfOneHolder(const FreesOfOneHolder&) = delete;
  FreesOfOneHolder& operator=(const FreesOfOneHolder&) = delete;
  void add(SessionId holder, std::uint64_t stride_bytes) {
    if (holder != holder_) {
      note();
      holder_ = holder;
    }
    ++blocks_;
    bytes_ += stride_bytes;
  }

 private:
  void note() {
    if (blocks_ != 0) account_.took(slot_, holder_, blocks_, bytes_);
    blocks_ = bytes_ = 0;
  }
  ShardAccount& account_;
  ArenaSlot& slot_;
  SessionId holder_;
  std::uint64_t blocks_ = 0, bytes_ = 0;
};

}  // namespace arenad::server
