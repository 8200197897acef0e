// TokenTable: the one-time tokens of the handoff socket.
//
// Purpose: a token proves on the handoff socket that the caller got the answer of OpenSession or
// AttachArena.
// Invariants: a token is removed at its first use, whether that use succeeds or not, and 10 s after
// its issue. A session has at most one token for each arena, and one token that only binds.
// Threads: the control thread. Crash: private memory; tokens end with the daemon.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "server/core/api/api.h"
#include "server/core/api/random.h"

namespace arenad::server {

inline constexpr std::uint64_t kTokenLifeMs = 10'000;

struct TokenUse {
  SessionId session;
  ArenaId arena;  // 0: binds only, no descriptor
  AttachMode mode = AttachMode::kNone;
  std::uint64_t expires_ns = 0;
};

class TokenTable {
 public:
  // 16 random bytes. Replaces the token that the session had for the same arena.
  std::string issue(SessionId session, ArenaId arena, AttachMode mode, std::uint64_t now);
  // What the token stands for. The token is used up. Nothing when the token is forged, used or
  // expired.
  std::optional<TokenUse> redeem(std::string_view token, std::uint64_t now);
  void drop_session(SessionId session);
  void drop_arena(ArenaId arena);
  void drop(SessionId session, ArenaId arena);
  std::size_t size() const { return tokens_.size(); }

 private:
  void drop_expired(std::uint64_t now);
  void erase(const TokenBytes& token);

  std::map<TokenBytes, TokenUse> tokens_;
  std::map<std::pair<SessionId, ArenaId>, TokenBytes> by_owner_;  // (session, arena)
  std::deque<std::pair<std::uint64_t, TokenBytes>>
      by_expiry_;  // all live equally long: in order of issue
};

}  // namespace arenad::server
