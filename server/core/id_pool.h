// IdPool: small numbers that are given out again as late as possible.
//
// Purpose: ids of sessions and arenas. An id that comes back soon would let an old ref or an old message meet a new owner.
// Invariants: an id is in the pool or in use; never used ones go first, then the one that rests longest.
// Threads: one. Crash: private.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

namespace arenad::server {

class IdPool {
 public:
  IdPool(std::uint16_t first, std::uint16_t last) : next_(first), last_(last) {}
  std::optional<std::uint16_t> take() {
    if (next_ <= last_) return static_cast<std::uint16_t>(next_++);
    if (resting_.empty()) return std::nullopt;
    const std::uint16_t id = resting_.front();
    resting_.pop_front();
    return id;
  }
  void put_back(std::uint16_t id) { resting_.push_back(id); }

 private:
  std::uint32_t next_;
  const std::uint32_t last_;
  std::deque<std::uint16_t> resting_;
};

}  // namespace arenad::server
