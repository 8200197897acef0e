// LeaseEpochs: which lease calls of a session are of its present, and which are of its past.
//
// Purpose: gRPC keeps calls of different methods in no order. A Resume that waited while the daemon
//   stood still would take back runs that were leased after it was sent. So each Resume raises the
//   epoch of its session in the arena, and every lease call names the epoch that it was made in. A
//   call of an earlier epoch is refused.
//   A thread of the client that was stopped may send a call of its past to a restarted daemon. So
//   after a restart no call is of the present before the session has resumed.
//   A session may detach and attach again. A lease call from before the detach must not be of the
//   new attachment's present. So the epoch outlives the attachment.
// Invariants: the epoch of a session only rises, until the session has ended. What begins an epoch
//   is one compare-and-swap, so an attachment and a late Resume of the one before never lower it.
// Threads: any. The control thread begins an attachment's epoch before the message that lets the
//   session act.
// Crash: private memory. A session that a former daemon served begins a new attachment at
//   first_after_restart(), which is above all epochs of former daemons.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <string_view>

#include "allocator/base/zeroed_array.h"
#include "server/core/api/clock.h"
#include "server/core/api/common.h"

namespace arenad::server {

class LeaseEpochs {
 public:
  bool is_present(SessionId session, LeaseEpoch epoch) const {
    const std::uint64_t now = next(session);
    return now != kMustResume && epoch.value + 1 == now;
  }
  // Whether a resume of that epoch may begin it. Never the highest number: it has no next one.
  bool may_begin(SessionId session, LeaseEpoch epoch) const {
    return epoch.value + 1 > std::max<std::uint64_t>(next(session), 1);
  }
  void begin(SessionId session, LeaseEpoch epoch) {
    const std::atomic_ref next(next_[session.value]);
    std::uint64_t seen = next.load(std::memory_order_relaxed);
    while (seen < epoch.value + 1 &&
           !next.compare_exchange_weak(seen, epoch.value + 1, std::memory_order_relaxed)) {}
  }
  // A session attaches: at `first`, or above its epochs so far when `first` is not. Answers the
  // epoch.
  LeaseEpoch begin_attachment(SessionId session, LeaseEpoch first) {
    const std::atomic_ref next(next_[session.value]);
    std::uint64_t seen = next.load(std::memory_order_relaxed), epoch = 0;
    do {
      epoch = std::max(seen, first.value);
    } while (!next.compare_exchange_weak(seen, epoch + 1, std::memory_order_relaxed));
    return {epoch};
  }
  // The epoch that the session is in; 0 when it must resume first.
  LeaseEpoch present(SessionId session) const {
    const std::uint64_t now = next(session);
    return {now == kMustResume ? 0 : now - 1};
  }
  bool must_resume(SessionId session) const { return next(session) == kMustResume; }
  // The session has ended, and its id is free: another session may begin at 0.
  void forget(SessionId session) {
    if (next(session) != kMustResume)  // a store would give a page of zeros memory
      std::atomic_ref(next_[session.value]).store(kMustResume, std::memory_order_relaxed);
  }
  // The clock counts from the start of the machine, which no session outlives. An epoch rises by
  // one at a time, and never as fast as the clock. So this epoch is above all that former daemons
  // gave.
  static LeaseEpoch first_after_restart() { return {now_ns()}; }
  // The refusal of a call of another epoch.
  Failure stale(SessionId session, LeaseEpoch epoch, std::string_view arena) const;

 private:
  static constexpr std::size_t kSessionIds = 65536;
  static constexpr std::uint64_t kMustResume = 0;

  std::uint64_t next(SessionId session) const {
    // Relaxed: the number orders no other memory. The shard that begins an epoch reads it, and the
    // control thread begins one before its message to the shard.
    return std::atomic_ref(next_[session.value]).load(std::memory_order_relaxed);
  }

  mutable ZeroedArray<std::uint64_t> next_{kSessionIds};  // by session id: its epoch + 1
};

}  // namespace arenad::server
