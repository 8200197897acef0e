// LeaseEpochs: which lease calls of a session are of its present, and which are of its past.
//
// Purpose: gRPC keeps calls of different methods in no order. A Resume that waited while the daemon
//   stood still would take back runs that were leased after it was sent. So each Resume raises the
//   epoch of its session in the arena, and every lease call names the epoch that it was made in. A
//   call of an earlier epoch is refused.
// Invariants: the epoch of a session only rises while the session is attached.
// Threads: any. A session makes its lease calls of one arena on one shard, so there is one writer.
//   attach() resets an epoch before the message that lets the session act.
// Crash: private memory. No call of the time before a restart reaches the next daemon.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>

#include "allocator/base/zeroed_array.h"
#include "server/core/api/common.h"

namespace arenad::server {

class LeaseEpochs {
 public:
  LeaseEpoch of(SessionId session) const {
    // Relaxed: the one writer is the shard that reads, or control before its message to the shard.
    return {std::atomic_ref(values_[session.value]).load(std::memory_order_relaxed)};
  }
  void set(SessionId session, LeaseEpoch epoch) {
    std::atomic_ref(values_[session.value]).store(epoch.value, std::memory_order_relaxed);
  }

 private:
  static constexpr std::size_t kSessionIds = 65536;
  mutable ZeroedArray<std::uint64_t> values_{kSessionIds};  // by session id
};

// The refusal of a call of another epoch.
Failure stale_epoch(LeaseEpoch named, LeaseEpoch now, SessionId session, std::string_view arena);

}  // namespace arenad::server
