// SessionList: ListSessions.
//
// Threads: the control thread. Crash: reads only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/core/control/control_core.h"

namespace arenad::server {

class SessionList {
 public:
  explicit SessionList(ControlCore& core) : core_(core) {}

  // The caller's own, or for an administrator all; in order of id. `page_size` 0 means kMaxPage.
  // Errors: kInvalidOption for a foreign token.
  Task<Answer<Page<SessionFacts>>> list(Caller caller, std::uint32_t page_size,
                                        std::string page_token);

 private:
  SessionFacts facts_of(const SessionRecord& record) const;
  // `held`: what the shards counted for the session.
  void add_attachments(SessionFacts& facts, const SessionRecord& record,
                       const std::vector<SharesByArena>& held, const CensusResult& census);

  ControlCore& core_;
};

}  // namespace arenad::server
