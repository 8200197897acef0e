// Account: how many bytes sessions and users are charged for, and their limits.
//
// Purpose: the daemon's only count that limits are checked against. A session is charged for each
//   run that it leases, whole, and for the stride of each block that it holds outside of those
//   runs. The count covers all shards and all arenas. A user is charged for what all sessions are
//   charged for that the user opened. Sessions that have no limit and no user are not counted.
// Invariants: charge() never takes a session or a user above the limit, not even for a moment. A
//   user's sum is that of the user's open sessions, but for charges that are just being made. The
//   count is exact for a session that works only in arenas without peers. Where peers work, blocks
//   change hands without a call, so the daemon recounts sessions from the block words before it
//   refuses them something.
// Threads: charges, credits and reads by any; all else by the control thread. Each count is one
//   atomic, which pairs with nothing: it orders no other memory.
// Crash: private memory of the daemon. The next daemon charges each session anew from the words.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>

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
  // Ends the account, when no shard knows the session any more.
  void close(SessionId session);

  // Changes the limit of an account that is open. One that was not counted begins at 0, and must be
  // recounted.
  void set_limit(SessionId session, std::uint64_t limit_bytes);

  // 0: the session has no limit.
  std::uint64_t limit_bytes(SessionId session) const;
  // Whether anything is charged for the session.
  bool counts(SessionId session) const {
    return load(entry(session).limit) != 0 || entry(session).user != nullptr;
  }
  // 0 for a session that is not counted.
  std::uint64_t charged_bytes(SessionId session) const;
  // What the session's user is charged for; 0 when that is nobody.
  std::uint64_t user_bytes(SessionId session) const;

  // Charges the session and its user. Errors: kQuotaSession, kQuotaUser: that would take the
  // session or the user above the limit. Then nothing is charged.
  Error charge(SessionId session, std::uint64_t bytes) {
    return counts(session) ? charge_slow(session, bytes) : Error::kNone;
  }
  void credit(SessionId session, std::uint64_t bytes) {
    add(session, -static_cast<std::int64_t>(bytes));
  }
  // Credits `from` with one amount and charges `to` with another, above the limit if need be. For
  // bytes that stay held and only change their kind or their holder.
  void move(SessionId from, std::uint64_t credited, SessionId to, std::uint64_t charged) {
    add(to, static_cast<std::int64_t>(charged));
    credit(from, credited);
  }

  // A recount replaces the charges from before begin_recount by what was counted since. Charges and
  // credits between the two calls stay. Recounts of one session may overlap: what one of them put
  // right, another does not put right again. By one thread only.
  struct Recount {
    SessionId session;
    std::int64_t uncorrected = 0;  // charged without the corrections of all recounts so far
  };
  Recount begin_recount(SessionId session) const {
    return {session, load(entry(session).charged) - entry(session).corrected};
  }
  // `counted_bytes` is a sum of shards' shares, so it may be below 0 for a moment.
  void finish_recount(const Recount& recount, std::int64_t counted_bytes) {
    std::int64_t& corrected = entry(recount.session).corrected;
    const std::int64_t missing = counted_bytes - recount.uncorrected - corrected;
    corrected += missing;
    add(recount.session, missing);
  }

 private:
  struct User {
    std::int64_t charged = 0;
    std::uint32_t sessions = 0;
  };
  struct Entry {
    std::int64_t charged;
    std::int64_t limit;      // 0: none
    std::int64_t corrected;  // the sum of what recounts added; of their thread
    User* user;              // null: nobody is charged; constant while shards know the session
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
  Error charge_slow(SessionId session, std::uint64_t bytes);
  static bool charge_up_to(std::int64_t limit, std::int64_t& charged, std::int64_t bytes);
  void add(SessionId session, std::int64_t bytes) {
    Entry& e = entry(session);
    if (!counts(session)) return;
    at(e.charged).fetch_add(bytes, std::memory_order_relaxed);
    if (e.user != nullptr) at(e.user->charged).fetch_add(bytes, std::memory_order_relaxed);
  }

  const std::uint64_t daemon_limit_bytes_;
  std::atomic<std::int64_t> user_limit_;
  ZeroedArray<Entry> entries_;           // by session id
  std::map<std::uint32_t, User> users_;  // by uid, those with open sessions
};

}  // namespace arenad::server
