// LeaseEpochs: which lease calls of a session are of its present, and which are of its past.
//
// Purpose: gRPC keeps calls of different methods in no order. A Resume that waited while the daemon
//   stood still would take back runs that were leased after it was sent. So each Resume raises the
//   epoch of its session in the arena, and every lease call names the epoch that it was made in. A
//   call of an earlier epoch is refused.
//   A thread of the client that was stopped may send a call of its past to a restarted daemon. So
//   after a restart no call is of the present before the session has resumed.
// Invariants: the epoch of a session only rises while the session is attached.
// Threads: any. A session makes its lease calls of one arena on one shard, so there is one writer.
//   attach() resets an epoch before the message that lets the session act.
// Crash: private memory.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <string_view>

#include "allocator/base/zeroed_array.h"
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
    std::atomic_ref(next_[session.value]).store(epoch.value + 1, std::memory_order_relaxed);
  }
  // The refusal of a call of another epoch.
  Failure stale(SessionId session, LeaseEpoch epoch, std::string_view arena) const;

 private:
  static constexpr std::size_t kSessionIds = 65536;
  static constexpr std::uint64_t kMustResume = 0;

  std::uint64_t next(SessionId session) const {
    // Relaxed: the one writer is the shard that reads, or control before its message to the shard.
    return std::atomic_ref(next_[session.value]).load(std::memory_order_relaxed);
  }

  mutable ZeroedArray<std::uint64_t> next_{kSessionIds};  // by session id: its epoch + 1
};

}  // namespace arenad::server
