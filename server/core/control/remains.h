// Remains: the memory of deleted arenas that clients still have open or mapped.
//
// Purpose: a client that keeps a deleted arena's memory keeps it from everybody else. So that
// memory counts in max_total_bytes, and its arena in max_user_arenas, until the last client lets
// go.
// Invariants: what is counted is what the files have, also what a client has touched after the
// deletion. Payload on hugetlbfs does not count, as everywhere.
// Threads: the control thread.
// Crash: the next daemon knows nothing of the remains: they are no files of a state directory.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>

#include "allocator/base/unique_fd.h"
#include "server/core/control/control_core.h"

namespace arenad::server {

class Remains {
 public:
  explicit Remains(ControlCore& core) : core_(core) {}

  // Lets go of a deleted arena of that owner, and looks after what clients keep of it.
  void bury(std::uint32_t owner_uid, std::shared_ptr<ArenaState> arena);

 private:
  struct Kept {
    std::string name;
    std::uint32_t owner_uid = 0;
    UniqueFd data, control;
    std::uint64_t counted_bytes = 0;
    std::uint32_t looks = 0;  // that found users
  };

  Task<> keep_looking();
  void look();
  bool is_kept(Kept& kept);
  void recount(Kept& kept);

  ControlCore& core_;
  std::list<Kept> kept_;
  bool looking_ = false;
};

}  // namespace arenad::server
