// A chaos peer: a process that allocates, stamps, hands on, takes over, shares, releases and frees
// until it is killed or told to stop.
//
// Threads: one, and the client library's. Crash: that is what it is for.
#pragma once

#include <cstdint>
#include <string>

#include "client/load/chaos/board.h"

namespace arenad::load::chaos {

struct PeerPlace {
  std::string socket;
  std::string arena;
  std::uint32_t seat = 0;
  std::uint32_t seats = 0;
  std::uint32_t life = 0;  // of all peers of the run, so that no two stamp alike
  std::uint64_t seed = 0;
  std::string
      plant;  // "double": stamps a block as somebody else would; "damage": overwrites an end
};

// Runs to the board's stop, then closes the session. Returns the exit code: 0, or 1 when it could
// not work (the board says why).
int run_peer(const PeerPlace& place, Board& board);

}  // namespace arenad::load::chaos
