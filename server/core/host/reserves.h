// Reserves: memory of the host that is set aside for sessions.
//
// Purpose: a session with a reserve of R is charged for H now. The rest of its reserve, R - H, is
//   set aside: others do not get it. This class knows the reserves, and what is being committed on
//   behalf of them (draws).
// Invariants: what a session draws at once, and what it is charged for, stay within its reserve
//   together. A draw may take all arenas above max_total_bytes. What a session has drawn in that
//   way, and no arena has given back since, is its excess: at most twice its reserve. So all arenas
//   have at most max_total_bytes and twice the reserves. Nobody else's doings count for a session's
//   excess, but what others take in the arenas in which it draws.
// Threads: whoever holds HostBudget's mutex for the sum.
// Crash: private memory of the daemon. The next daemon finds the reserves in the table of sessions.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <utility>

#include "allocator/format/ids.h"

namespace arenad::server {

class Reserves {
 public:
  // A draw: a session, and which of its reserves that was. Ids are used again.
  struct Drawer {
    SessionId session;
    std::uint64_t serial = 0;  // 0: no draw
  };

  // Says how many bytes of its reserve a session is not charged for.
  explicit Reserves(std::function<std::uint64_t(SessionId)> unused) : unused_(std::move(unused)) {}

  // From here on, and until end(), this much is set aside for the session.
  void begin(SessionId session, std::uint64_t bytes);
  void end(SessionId session);

  bool empty() const { return reserves_.empty(); }
  // Of all sessions, used or not.
  std::uint64_t reserved_bytes() const;
  // What is set aside for a session, and for all sessions but one.
  std::uint64_t set_aside_for(SessionId session) const;
  std::uint64_t set_aside_but(SessionId session) const;

  // Takes `bytes` from what the session has left of its reserve, until draw_over(). As many times
  // as fit, and at most `times`. Answers how often; then `drawer` says who draws.
  std::uint32_t draw(SessionId session, std::uint64_t bytes, std::uint32_t times, Drawer& drawer);
  void draw_over(const Drawer& drawer, std::uint64_t bytes);
  // Of a draw, `bytes` are committed and not charged to the session yet, or no longer so. They are
  // not set aside a second time.
  void committed(const Drawer& drawer, std::int64_t bytes);
  // Whether a draw may commit `bytes` in the file `fd` above max_total_bytes. Then its session's
  // excess is larger.
  bool exceed(const Drawer& drawer, std::uint64_t bytes, int fd);
  // The file has given so much back. The excess of those who drew there is smaller.
  void given_back(std::uint64_t bytes, int fd);

 private:
  struct Reserve {
    std::uint64_t serial = 0;
    std::uint64_t bytes = 0;
    std::uint64_t drawn = 0;              // by draws that are not over
    std::uint64_t committed = 0;          // of them, and not charged yet
    std::map<int, std::uint64_t> excess;  // by file
  };
  Reserve* find(const Drawer& drawer);
  std::uint64_t set_aside_for(SessionId session, const Reserve& reserve) const;

  const std::function<std::uint64_t(SessionId)> unused_;
  std::map<SessionId, Reserve> reserves_;
  std::uint64_t last_serial_ = 0;
};

}  // namespace arenad::server
