// WaitQueue: the calls of one shard that wait for memory.
//
// Purpose: runs a call that needs memory. A call that lacks something is parked, and another thread
//   is asked for it: the arena's commit thread for memory that is not committed, or the control
//   thread for a trim round when the arena is full, and for a free round when the session or its
//   user is at a limit. After it the call is tried again. Then the call fails with the particulars,
//   or waits on when its caller said so.
// Invariants: each call is answered exactly once. Callers that wait are served first come, first
//   served among those of one user in each arena of the shard. Nobody waits behind another user's
//   call, which may wait for more than there will ever be. A caller that does not wait may try in
//   between. A call for which memory is being committed holds up no other call. ArenaState::waiting
//   counts the parked calls of all shards but those.
// Threads: the shard's own. Crash: private; nothing is held for a parked call.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "server/core/api/common.h"
#include "server/core/shard/alarm.h"
#include "server/core/shard/shard_tables.h"
#include "server/core/shard/shared_state.h"

namespace arenad::server {

class WaitQueue {
 public:
  WaitQueue(ShardId shard, ShardTables& tables, SharedState& shared, Alarm& alarm)
      : shard_(shard), tables_(tables), shared_(shared), alarm_(alarm) {}

  // Runs a call. Kind is AllocateCall or LeaseGrant. `done` runs inside, or later on this thread.
  template <class Kind>
  void serve(Kind& kind, const typename Kind::Args& args, Done<typename Kind::Out> done);

  // Tries the parked calls of an arena again.
  void retry(ArenaId arena_id);
  // A trim round is over. Tries all again. Calls that were parked up to `ticket` and do not wait
  // fail now.
  void trim_round(ArenaId arena_id, std::uint64_t ticket, const UsageSummary& usage);
  // A free round is over, for the call that was parked under `ticket`.
  void free_round_over(ArenaId arena_id, std::uint64_t ticket);
  // What the call that was parked under `ticket` asked for is committed, or was refused.
  void committed(ArenaId arena_id, std::uint64_t ticket, const RunClaims::Outcome& got);
  // Blocks of the arena were freed on this shard.
  void memory_came_back(ArenaSlot& slot);

  // Fails calls because their session, their arena or the daemon ends.
  void fail_session(SessionId session, Error why);
  void fail_session_in(ArenaSlot& slot, SessionId session, Error why);
  void fail_all(ArenaSlot& slot, Error why);
  void fail_all(Error why);
  // The arena is deleted, or about to be: no timer looks at it any more.
  void forget(const ArenaSlot& slot) { std::erase(waited_, &slot); }

  // Expired waits, and a look for memory that came back unnoticed. Returns when the next call is
  // due, monotonic nanoseconds.
  std::uint64_t tick(std::uint64_t now);

 private:
  // How a parked call came out of an attempt.
  enum class Fate : std::uint8_t { kAnswered, kFailed, kKept };

  void park_slow(ArenaSlot& slot, ParkedCall call, Error why);
  void begin_commit(ArenaSlot& slot, ParkedCall& call);
  void ask_for_room(ArenaSlot& slot, ParkedCall& call);
  // Whether a parked call waits for memory that somebody must give back.
  static bool somebody_waits(const ArenaSlot& slot);
  // The same, a call of this user.
  static bool waits(const ArenaSlot& slot, std::uint32_t uid);
  // kQuotaUser when so many calls of the user are parked that there is no place for another one.
  Failure no_place(std::uint32_t uid) const;
  // The call leaves the queue of its arena.
  void unpark(ArenaSlot& slot, const ParkedCall& call);
  // Why the parked calls are tried again.
  struct Occasion {
    std::uint64_t now = 0;
    bool round_over = false;  // a trim round is over, for calls that were parked up to `ticket`
    std::uint64_t ticket = 0;
  };
  void serve_parked(ArenaSlot& slot, const Occasion& occasion);
  Fate try_again(ArenaSlot& slot, ParkedCall& call, bool behind_a_waiter, const Occasion& occasion,
                 Failure& failure);
  Fate commit_again(ArenaSlot& slot, ParkedCall& call, const Occasion& occasion, Failure& failure);
  Failure full_failure(const ArenaSlot& slot, const ParkedCall& call) const;
  void fail_if(ArenaSlot& slot, const std::function<bool(const ParkedCall&)>& which, Error why);

  const ShardId shard_;
  ShardTables& tables_;
  SharedState& shared_;
  Alarm& alarm_;
  std::map<std::uint32_t, std::uint32_t> parked_of_;  // calls that are parked, by user
  // Arenas in which calls are parked, or were at the last tick. Timers look at no other.
  std::vector<ArenaSlot*> waited_;
  std::uint64_t next_ticket_ = 0;
  std::uint64_t next_round_ns_ = 0;  // when waiters ask for a trim round of their own accord
};

template <class Kind>
void WaitQueue::serve(Kind& kind, const typename Kind::Args& args, Done<typename Kind::Out> done) {
  using Out = typename Kind::Out;
  Access access;
  if (const Error e = tables_.admit(args.session, args.arena_id, Kind::kNeed, access);
      e != Error::kNone) {
    return done(tables_.refusal(e, args.session, args.arena_id));
  }
  ArenaSlot& slot = *access.slot;
  if (Failure f = kind.check(args, slot); f.error != Error::kNone) return done(std::move(f));
  Out out;
  // A caller that may wait queues behind those of its user who wait already.
  const bool queue = args.wait_ms != 0 && waits(slot, access.session->uid);
  const Error e = queue ? Error::kArenaFull : kind.attempt(access, args, out);
  if (e == Error::kNone) [[likely]]
    return done(std::move(out));
  if (e != Error::kArenaFull && e != Error::kMachineFull && e != Error::kCommitNeeded &&
      !over_quota(e)) {
    return done(kind.refusal(e, args, slot));
  }
  if (Failure full = no_place(access.session->uid); full.error != Error::kNone)
    return done(std::move(full));
  ParkedCall call;
  call.session = args.session;
  call.uid = access.session->uid;
  call.wait_ms = args.wait_ms;
  call.for_peer = Kind::kNeed == Need::kPeer;
  auto result = std::make_shared<Out>();
  call.attempt = [&kind, args, result](const Access& again) {
    return kind.attempt(again, args, *result);
  };
  call.answer = [done, result] { done(std::move(*result)); };
  call.fail = [done](Failure failure) { done(std::move(failure)); };
  call.refusal = [&kind, args](Error why, const ArenaSlot& in) {
    return kind.refusal(why, args, in);
  };
  call.asked_for = [args] { return Kind::asked_for(args); };
  call.need = [args](const ArenaSlot& in) { return Kind::need(args, in); };
  park_slow(slot, std::move(call), e);
}

}  // namespace arenad::server
