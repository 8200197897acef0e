#include "server/core/control/token_table.h"

#include <algorithm>
#include <vector>

#include "server/core/api/clock.h"

namespace arenad::server {

std::string TokenTable::issue(SessionId session, ArenaId arena, AttachMode mode,
                              std::uint64_t now) {
  drop_expired(now);
  if (const auto old = by_owner_.find({session, arena}); old != by_owner_.end())
    erase(TokenBytes(old->second));
  const TokenBytes token = random_token();
  const std::uint64_t expires = now + kTokenLifeMs * kNsPerMs;
  tokens_[token] = {session, arena, mode, expires};
  by_owner_[{session, arena}] = token;
  by_expiry_.emplace_back(expires, token);
  return {reinterpret_cast<const char*>(token.data()), token.size()};
}

std::optional<TokenUse> TokenTable::redeem(std::string_view bytes, std::uint64_t now) {
  drop_expired(now);
  TokenBytes token;
  if (bytes.size() != token.size()) return std::nullopt;
  std::copy(bytes.begin(), bytes.end(), token.begin());
  const auto found = tokens_.find(token);
  if (found == tokens_.end()) return std::nullopt;
  const TokenUse use = found->second;
  erase(token);
  return use;
}

void TokenTable::drop_session(SessionId session) {
  std::vector<TokenBytes> gone;
  for (const auto& [token, use] : tokens_)
    if (use.session == session) gone.push_back(token);
  for (const TokenBytes& token : gone) erase(token);
}

void TokenTable::drop_arena(ArenaId arena) {
  std::vector<TokenBytes> gone;
  for (const auto& [token, use] : tokens_)
    if (use.arena == arena) gone.push_back(token);
  for (const TokenBytes& token : gone) erase(token);
}

void TokenTable::drop(SessionId session, ArenaId arena) {
  const auto found = by_owner_.find({session, arena});
  if (found != by_owner_.end()) erase(TokenBytes(found->second));
}

void TokenTable::drop_expired(std::uint64_t now) {
  while (!by_expiry_.empty() && by_expiry_.front().first <= now) {
    erase(by_expiry_.front().second);
    by_expiry_.pop_front();
  }
}

void TokenTable::erase(const TokenBytes& token) {
  const auto found = tokens_.find(token);
  if (found == tokens_.end()) return;
  by_owner_.erase({found->second.session, found->second.arena});
  tokens_.erase(found);
}

}  // namespace arenad::server
