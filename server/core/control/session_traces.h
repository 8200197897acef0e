// What the ledger, the block words and the control memory of an arena say about sessions.
//
// Purpose: StateRecovery asks, before anybody works in the arena, which sessions an arena names,
//   and where sessions that do not live hold blocks.
// Invariants: nothing from control memory is believed but the words themselves.
// Threads: pure functions. Crash: reads only.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "allocator/arena/arena.h"
#include "allocator/arena/footprint.h"

namespace arenad::server {

// Session ids that a session can have: from 1 to this one less. 0 and 65535 are nobody's.
inline constexpr std::uint32_t kSessionIdsEnd = kReaperSession.value;

class SessionSet {
 public:
  SessionSet() : has_(kSessionIdsEnd) {}
  bool contains(SessionId id) const { return id.value < kSessionIdsEnd && has_[id.value]; }
  // Ids that are nobody's are left out.
  void insert(SessionId id) {
    if (id != kNoSession && id.value < kSessionIdsEnd) has_[id.value] = true;
  }
  void insert(const SessionSet& others) {
    for (std::uint32_t id = 0; id < kSessionIdsEnd; ++id)
      if (others.has_[id]) has_[id] = true;
  }
  template <class F>
  void for_each(F f) const {
    for (std::uint32_t id = 1; id < kSessionIdsEnd; ++id)
      if (has_[id]) f(SessionId{static_cast<std::uint16_t>(id)});
  }

 private:
  std::vector<bool> has_;
};

// Every session that the arena's ledger or control memory names anywhere.
SessionSet sessions_named_in(const Arena& arena);

// Where sessions that are not in `living` hold blocks.
std::map<SessionId, Footprint> held_by_dead(const Arena& arena, const SessionSet& living);

}  // namespace arenad::server
