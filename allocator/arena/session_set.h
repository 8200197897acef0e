// SessionSet: some of the sessions that there can be, by their ids.
//
// Invariants: ids that are nobody's are never in a set.
// Threads: the owner's. Crash: private memory.
#pragma once

#include <cstdint>
#include <vector>

#include "../format/block_word.h"
#include "../format/ids.h"

namespace arenad {

// Session ids that a session can have: from 1 to this one less. 0 and 65535 are nobody's.
inline constexpr std::uint32_t kSessionIdsEnd = kReaperSession.value;

constexpr bool is_session(SessionId id) { return id != kNoSession && id.value < kSessionIdsEnd; }

class SessionSet {
 public:
  SessionSet() : has_(kSessionIdsEnd) {}
  bool contains(SessionId id) const { return id.value < kSessionIdsEnd && has_[id.value]; }
  // Ids that are nobody's are left out.
  void insert(SessionId id) {
    if (is_session(id)) has_[id.value] = true;
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

}  // namespace arenad
