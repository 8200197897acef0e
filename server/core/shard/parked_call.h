// ParkedCall: a call that waits for memory.
//
// Purpose: what WaitQueue keeps of a call whose arena was full, whose session was at its limit, or
//   for which memory is being committed.
// Threads: the shard's own. Crash: private; the caller's connection ends with the daemon.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "allocator/arena/run_claims.h"
#include "allocator/base/error.h"
#include "server/core/api/common.h"

namespace arenad::server {

struct Access;
struct ArenaSlot;

// Memory that must be committed for a call.
struct CommitNeed {
  SessionId session;
  // What the session will be charged for it: as many times as there are parts. One part is enough
  // for an answer.
  std::uint64_t part_bytes = 0;
  std::uint32_t parts = 1;
  std::vector<RunWish> runs;  // where there are several parts: one wish, of as many runs
};

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
  std::function<CommitNeed(const ArenaSlot&)> need;         // memory for `attempt`
  std::uint64_t ticket = 0;       // a trim round for this ticket comes before the call may fail
  std::uint64_t deadline_ns = 0;  // of its wait; 0 when the caller does not wait
  bool free_round_over = false;   // what was freed was taken back for this call
  // Memory is being committed for it. Meanwhile it is not tried, and it holds up nobody.
  bool committing = false;
  std::uint32_t short_claims = 0;     // commits in a row that brought less than was wished for
  Error refused = Error::kNone;       // what such a commit ended with, for the next try
  Error commit_error = Error::kNone;  // what the last commit was refused with
  bool trimmed = false;               // a whole trim round is over since it was parked
  Error last = Error::kArenaFull;
};

}  // namespace arenad::server
