// IdPool: small numbers that are given out again as late as possible.
//
// Purpose: ids of sessions and arenas. If an id came back soon, an old ref or an old message could
// meet a new owner.
// Invariants: an id is in the pool or in use. Ids that were never used go first, in a circle from
// `start`, then the id that has rested longest. reserve comes before the first take.
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
  IdPool(std::uint16_t first, std::uint16_t last) : IdPool(first, last, first) {}
  IdPool(std::uint16_t first, std::uint16_t last, std::uint16_t start)
      : first_(first), last_(last), next_(start), fresh_(last - first + 1u) {}
  std::optional<Id> take() {
    for (; fresh_ != 0; --fresh_) {
      const Id id{next_};
      next_ = next_ == last_ ? first_ : static_cast<std::uint16_t>(next_ + 1);
      if (reserved_.erase(id) != 0) continue;
      --fresh_;
      return id;
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
  const std::uint16_t first_, last_;
  std::uint16_t next_;
  std::uint32_t fresh_;  // ids from next_ on that were never used
  std::deque<Id> resting_;
  std::set<Id> reserved_;  // of those that next_ has not come to
};

}  // namespace arenad::server
