// Account: how many bytes each session is charged for, and its limit.
//
// Purpose: the daemon's only count that limits are checked against. A session is charged for each
//   run that it leases, whole, and for the stride of each block that it holds outside of those
//   runs. The count covers all shards and all arenas. Sessions without a limit are not counted.
// Invariants: charge() never takes a session above its limit, not even for a moment. The count is
//   exact for a session that works only in arenas without peers. Where peers work, blocks change
//   hands without a call, so the daemon recounts a session from the block words before it refuses
//   that session.
// Threads: any. Each count is one atomic, which pairs with nothing: it orders no other memory.
// Crash: private memory of the daemon. The next daemon charges each session anew from the words.
#pragma once

#include <atomic>
#include <cstdint>

#include "allocator/base/zeroed_array.h"
#include "allocator/format/ids.h"

namespace arenad::server {

class Account {
 public:
  // The sessions of one daemon, none of them with more than `daemon_limit_bytes`; 0 is no limit.
  explicit Account(std::uint64_t daemon_limit_bytes);

  // Begins the account of a session at 0, before any shard knows the session. The limit is the
  // smaller of `limit_bytes` and the daemon's limit. In both of them 0 means no limit.
  void open(SessionId session, std::uint64_t limit_bytes);

  // Changes the limit of an account that is open. One that had none begins at 0, and must be
  // recounted.
  void set_limit(SessionId session, std::uint64_t limit_bytes);

  // 0: the session has no limit.
  std::uint64_t limit_bytes(SessionId session) const;
  bool has_limit(SessionId session) const { return limit_bytes(session) != 0; }
  // 0 for a session without a limit.
  std::uint64_t charged_bytes(SessionId session) const;

  // Charges the session, unless that would take it above its limit. Then nothing is charged and the
  // answer is false.
  bool charge(SessionId session, std::uint64_t bytes) {
    const std::int64_t limit = load(entry(session).limit);
    if (limit == 0) return true;
    return charge_slow(session, bytes, limit);
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
  std::int64_t limit_for(std::uint64_t limit_bytes) const;

  struct Entry {
    std::int64_t charged;
    std::int64_t limit;      // 0: none
    std::int64_t corrected;  // the sum of what recounts added; of their thread
  };
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
  bool charge_slow(SessionId session, std::uint64_t bytes, std::int64_t limit);
  void add(SessionId session, std::int64_t bytes) {
    if (load(entry(session).limit) != 0)
      at(entry(session).charged).fetch_add(bytes, std::memory_order_relaxed);
  }

  const std::uint64_t daemon_limit_bytes_;
  ZeroedArray<Entry> entries_;  // by session id
};

}  // namespace arenad::server
