// Account: how many bytes sessions and users are charged for, and their limits.
//
// Purpose: the daemon's only count that limits are checked against. A session is charged for each
//   run that it leases, whole, and for the stride of each block that it pays for outside of leased
//   runs. It pays for the blocks that it was given by a call, by Allocate or by Acquire, until they
//   are the daemon's again. The count covers all shards and all arenas. A user is charged for what
//   all sessions are charged for that the user opened, and for what ended sessions of the user have
//   left with others: the user's heir pays for that. It also says how much of a session's reserve
//   is not used (host/reserves.h).
// Invariants: charge() never takes a session or a user above the limit, not even for a moment. A
//   user's sum is that of the user's open sessions and heir, but for charges that are just being
//   made. What clients can write decides nothing here. A reserve is never said to be used by a
//   charge of which nobody knows yet whether there is memory for it.
// Threads: charges, credits and reads by any; all else by the control thread. Each count is one
//   atomic. Those of limits pair with nothing: they order no other memory.
// Crash: private memory of the daemon. The next daemon charges each session anew: for its leases
//   from the ledgers, and for blocks from the words, because there is nothing else.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <vector>

#include "allocator/base/error.h"
#include "allocator/base/zeroed_array.h"
#include "allocator/format/ids.h"

namespace arenad::server {

// The session or its user would have more than its limit.
inline bool over_quota(Error e) { return e == Error::kQuotaSession || e == Error::kQuotaUser; }

class Account {
 public:
  // The sessions of one daemon, none of them with more than `daemon_limit_bytes`; 0 is no limit.
  explicit Account(std::uint64_t daemon_limit_bytes);

  // The limit of each user; until then there is none.
  void set_user_limit(std::uint64_t limit_bytes) {
    user_limit_.store(clamped(limit_bytes), std::memory_order_relaxed);
  }
  std::uint64_t user_limit_bytes() const {
    return static_cast<std::uint64_t>(user_limit_.load(std::memory_order_relaxed));
  }

  // Begins the account of a session at 0, before any shard knows the session. The limit is the
  // smaller of `limit_bytes` and the daemon's limit. In both of them 0 means no limit. No user is
  // charged for it.
  void open(SessionId session, std::uint64_t limit_bytes);
  // The same for a session of a user, who is charged, too.
  void open(SessionId session, std::uint64_t limit_bytes, std::uint32_t uid);
  // Ends the account, when no shard knows the session any more and nothing is paid for by it.
  void close(SessionId session);

  // Who pays for what the session leaves with others. kNoSession: nobody, or the user has no heir
  // yet.
  SessionId heir_of(SessionId session) const {
    const User* const user = entry(session).user;
    return user == nullptr ? kNoSession : user->heir;
  }
  // Whether the session has a user that has no heir. An heir is a session id that no session has.
  bool needs_heir(SessionId session) const {
    return entry(session).user != nullptr && heir_of(session) == kNoSession;
  }
  void set_heir(SessionId session, SessionId heir);
  // Forgets users who have no session any more and pay for nothing. Answers their heirs' ids, which
  // sessions may have again.
  std::vector<SessionId> forget_idle_users();

  // Changes the limit of an account that is open.
  void set_limit(SessionId session, std::uint64_t limit_bytes);

  // The reserve of an account that was just opened, before any shard knows the session.
  void set_reserve(SessionId session, std::uint64_t bytes);
  // What the session is not charged for of its reserve. A charge counts when settled() was called
  // for it.
  std::uint64_t unused_reserve(SessionId session) const;

  // 0: the session has no limit.
  std::uint64_t limit_bytes(SessionId session) const;
  std::uint64_t charged_bytes(SessionId session) const;
  // What the session's user is charged for; 0 when that is nobody.
  std::uint64_t user_bytes(SessionId session) const;

  // Charges the session and its user. Errors: kQuotaSession, kQuotaUser: that would take the
  // session or the user above the limit. Then nothing is charged. Else settled() follows.
  Error charge(SessionId session, std::uint64_t bytes) {
    if (!has_reserve(session)) [[likely]]
      return charge_both(entry(session), bytes);
    return charge_unsettled(session, bytes);
  }
  // There is memory for a charge of so many bytes, or the charge is credited again.
  void settled(SessionId session, std::uint64_t bytes) {
    if (has_reserve(session)) [[unlikely]]
      // release: pairs with the load in unused_reserve, which sees the credit then.
      at(entry(session).settled).fetch_add(clamped(bytes), std::memory_order_release);
  }
  // Charges or credits a session and its user, above the limit if need be. For bytes that are out
  // already, or are out no more.
  void add(SessionId session, std::int64_t bytes) {
    Entry& e = entry(session);
    at(e.charged).fetch_add(bytes, std::memory_order_relaxed);
    if (e.user != nullptr) at(e.user->charged).fetch_add(bytes, std::memory_order_relaxed);
  }
  void credit(SessionId session, std::uint64_t bytes) {
    add(session, -static_cast<std::int64_t>(bytes));
  }

 private:
  struct User {
    std::int64_t charged = 0;
    std::uint32_t sessions = 0;
    SessionId heir;
  };
  struct Entry {
    std::int64_t charged;
    std::int64_t limit;    // 0: none
    User* user;            // null: nobody is charged; constant while shards know the session
    std::int64_t reserve;  // 0: none; constant while shards know the session
    std::int64_t begun;    // with a reserve: the sum of all charges that were begun
    std::int64_t settled;  // of them, those that are settled
  };
  static std::int64_t clamped(std::uint64_t bytes);
  std::int64_t limit_for(std::uint64_t limit_bytes) const;
  // Atomics cannot be made by calloc, so the entries are plain. Every access to a charge or a limit
  // goes through here.
  // Pages of calloc cost nothing before a session uses them.
  static std::atomic_ref<std::int64_t> at(const std::int64_t& value) {
    return std::atomic_ref<std::int64_t>(const_cast<std::int64_t&>(value));
  }
  static std::int64_t load(const std::int64_t& value) {
    return at(value).load(std::memory_order_relaxed);
  }
  const Entry& entry(SessionId session) const { return entries_[session.value]; }
  Entry& entry(SessionId session) { return entries_[session.value]; }
  bool has_reserve(SessionId session) const { return load(entry(session).reserve) != 0; }
  Error charge_both(Entry& e, std::uint64_t bytes);
  Error charge_unsettled(SessionId session, std::uint64_t bytes);
  static bool charge_up_to(std::int64_t limit, std::int64_t& charged, std::int64_t bytes);

  const std::uint64_t daemon_limit_bytes_;
  std::atomic<std::int64_t> user_limit_;
  ZeroedArray<Entry> entries_;  // by session id; what nobody pays for is kNoSession's
  std::map<std::uint32_t, User>
      users_;  // by uid, those with open sessions or with an heir that pays
};

}  // namespace arenad::server
