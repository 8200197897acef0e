// ParkedCall: a call that waits for memory.
//
// Purpose: what WaitQueue keeps of a call whose arena was full or whose session was at its limit.
// Threads: the shard's own. Crash: private; the caller's connection ends with the daemon.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "allocator/base/error.h"
#include "server/core/api/common.h"

namespace arenad::server {

struct Access;
struct ArenaSlot;

struct ParkedCall {
  SessionKey session;
  std::uint32_t uid = 0;  // of the session
  std::uint32_t wait_ms = 0;
  bool for_peer = false;                        // only a peer may make the call
  std::function<Error(const Access&)> attempt;  // kNone: `answer` has something to say
  std::function<void()> answer;
  std::function<void(Failure)> fail;
  std::function<Failure(Error, const ArenaSlot&)> refusal;  // for errors other than full memory
  std::function<std::string()> asked_for;                   // "3 blocks of 64 bytes"
  std::uint64_t ticket = 0;       // a trim round for this ticket comes before the call may fail
  std::uint64_t deadline_ns = 0;  // of its wait; 0 when the caller does not wait
  bool recounted = false;         // the session's account was recounted for this call
  Error last = Error::kArenaFull;
};

}  // namespace arenad::server
