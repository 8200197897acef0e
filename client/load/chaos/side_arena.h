// SideArena: a peer's visits to the arena that is deleted and created again while it is in use.
//
// Purpose: a visit has a session of its own. It attaches as peer or writer, allocates, checks its
//   stamps, frees and closes. Any peer may delete the arena meanwhile.
// Invariants: a refusal is correct when a deletion began since the visit began, or while the daemon
//   may be away. Any other refusal is a finding. Nobody else touches a visit's blocks.
// Threads: the peer's. Crash: the session ends with the process.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "arenad/arenad.h"
#include "client/load/chaos/board.h"
#include "client/load/kernels/random.h"

namespace arenad::load::chaos {

class SideArena {
 public:
  // `name`: of the visits' sessions. `life`: as PeerPlace::life, for the stamps.
  SideArena(Board& board, std::string name, std::uint32_t life, std::uint64_t seed);

  // One step: attach, allocate, free a block, or leave.
  void turn(const client::Client& client);
  void leave();
  // Deletes the arena under its users and creates it again. True when both were done.
  bool recreate(const client::Client& client);

 private:
  struct Held {
    client::AllocatedBlock block;
    std::uint64_t who = 0;  // as stamped
  };

  void enter(const client::Client& client);
  void allocate();
  void free_one();
  // True when the failure needs no death or deletion of an arena to be correct, or has it.
  bool is_explained(client::Code code, Error reason) const;
  void check(const char* what, const client::Status& status);
  void check(const char* what, Error reason);
  void found(const std::string& what);

  Board& board_;
  const std::string name_;
  const std::uint64_t life_;
  Random random_;
  std::uint32_t deletions_ = 0;  // on the board when the visit began
  std::uint64_t sequence_ = 0;
  bool visiting_ = false;
  client::Session session_;
  client::ArenaHandle arena_;
  std::vector<Held> held_;
};

}  // namespace arenad::load::chaos
