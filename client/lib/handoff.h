// The client's side of the handoff socket.
//
// Purpose: show a one-time token, and get the descriptors of an arena: its data, and for a peer its
//   control file too. The daemon binds the session to this process by pidfd.
// Invariants: a connection shows one token. Descriptors are CLOEXEC from their first moment here.
// Threads: any; each call has its own socket, and blocks up to the timeout.
// Crash: the daemon sees the end of the connection. A token that was shown is used up.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "allocator/base/unique_fd.h"
#include "arenad/types.h"

namespace arenad::client {

struct HandedOver {
  UniqueFd data;     // none for a session's own token, which only binds the session
  UniqueFd control;  // for a peer
  std::uint64_t data_bytes = 0;
  std::uint64_t control_bytes = 0;
  ArenaId arena;
};

// Shows the token on the socket, and takes what the daemon hands over. Errors: those of the daemon
// (BAD_TOKEN, NOT_PERMITTED and others); UNAVAILABLE when the socket cannot be reached, or when the
// answer does not come within `timeout_ms`; INTERNAL when the answer is not one of arenad's.
Answer<HandedOver> hand_over(const std::string& socket_path, std::string_view token,
                             std::uint32_t timeout_ms);

}  // namespace arenad::client
