// A chaos peer: a process that allocates, stamps, hands on, takes over, shares, releases and frees
// blocks until it is killed or told to stop.
//
// Purpose: it also obeys the orders on its seat: it becomes another program, closes its session
//   while the daemon is away, or deletes the side arena.
// Threads: one, and those of the client library. Crash: the purpose of this process is to be
//   killed.
#pragma once

#include <cstdint>
#include <string>

#include "client/load/chaos/board.h"

namespace arenad::load::chaos {

struct PeerPlace {
  std::uint32_t seat = 0;
  std::uint32_t life = 0;  // counts all peers of the run, so that no two stamps are equal
  std::uint64_t seed = 0;
  std::string
      plant;  // "double": stamps a block as somebody else would; "damage": overwrites an end
  bool by_exec = false;  // the seat's peer has become this program
};

// Runs until the board says stop, then closes the session. Returns 0, or 1 when the peer could not
// work; the board has the reason.
int run_peer(const PeerPlace& place, Board& board);

}  // namespace arenad::load::chaos
