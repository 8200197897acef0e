// The client's side of the handoff socket.
//
// Purpose: show a one-time token; get back the descriptor of an arena's data, a peer that of its
// control file too, and be bound to
//   the session by pidfd.
// Invariants: one token, one connection. Descriptors are CLOEXEC from the moment they exist here.
// Threads: pure function over a socket of its own; blocks up to the timeout.
// Crash: the daemon sees the connection end; a token that was shown is used up.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "arenad/status.h"
#include "allocator/base/unique_fd.h"

namespace arenad::client {

struct HandedOver {
  UniqueFd data;     // none for a session's own token, which only binds
  UniqueFd control;  // a peer's
  std::uint64_t data_bytes = 0;
  std::uint64_t control_bytes = 0;
  std::uint32_t arena_id = 0;
};

// Errors: those of the daemon (BAD_TOKEN, NOT_PERMITTED, ...); UNAVAILABLE when the socket cannot
// be reached or the answer does not come within timeout_ms; INTERNAL for an answer that is none.
Answer<HandedOver> hand_over(const std::string& socket_path, std::string_view token,
                             std::uint32_t timeout_ms);

}  // namespace arenad::client
