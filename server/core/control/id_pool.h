// IdPool: small numbers that are given out again as late as possible.
//
// Purpose: ids of sessions and arenas. If an id came back soon, an old ref or an old message could
// meet a new owner.
// Invariants: an id is in the pool or in use. Ids that were never used go first, then the id that
// has rested longest. reserve comes before the first take.
// Threads: one thread. Crash: private memory of the daemon.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <set>

namespace arenad::server {

template <class Id>
class IdPool {
 public:
  IdPool(std::uint16_t first, std::uint16_t last) : next_(first), last_(last) {}
  std::optional<Id> take() {
    while (next_ <= last_) {
      const Id id{static_cast<std::uint16_t>(next_++)};
      if (reserved_.erase(id) == 0) return id;
    }
    if (resting_.empty()) return std::nullopt;
    const Id id = resting_.front();
    resting_.pop_front();
    return id;
  }
  // In use from the beginning on.
  void reserve(Id id) { reserved_.insert(id); }
  void put_back(Id id) { resting_.push_back(id); }

 private:
  std::uint32_t next_;
  const std::uint32_t last_;
  std::deque<Id> resting_;
  std::set<Id> reserved_;  // of those that next_ has not come to
};

}  // namespace arenad::server
