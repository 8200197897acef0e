#include "server/core/control/session_registry.h"

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "allocator/base/format.h"
#include "server/core/api/random.h"
#include "server/core/api/text.h"

namespace arenad::server {

Answer<SessionRecord*> SessionRegistry::open(Caller owner, const std::string& name,
                                             std::uint64_t now) {
  const std::string given = name.empty() ? "client" : name;
  if (!valid_name(given))
    return refuse(Error::kInvalidName, fmt::format("session name '{}'", given.substr(0, 80)));
  if (Failure full = check_quota(*owner); full.error != Error::kNone) return full;
  const auto id = ids_.take();
  if (!id) return refuse(Error::kQuotaDaemon, "all session ids are in use");
  evicted_.erase(*id);
  SessionRecord& record = sessions_[*id];
  record.key = {*id, random_u64()};
  record.name = given;
  record.opened_ns = now;
  record.uid = owner->uid;
  ++of_user_[owner->uid];
  record.owner = std::move(owner);
  return &record;
}

Failure SessionRegistry::check_quota(const Principal& owner) const {
  if (sessions_.size() >= limits_.max_sessions) {
    return refuse(Error::kQuotaDaemon,
                  fmt::format("the daemon has {} sessions, which is its limit max_sessions{}",
                              sessions_.size(), biggest_users(owner)));
  }
  const auto found = of_user_.find(owner.uid);
  const std::uint32_t of_user = found == of_user_.end() ? 0 : found->second;
  if (owner.is_admin || of_user < limits_.max_user_sessions) return {};
  return refuse(Error::kQuotaUser,
                fmt::format("{} has {} sessions, which is the limit max_user_sessions",
                            owner.text(), of_user));
}

std::string SessionRegistry::biggest_users(const Principal& caller) const {
  if (!caller.is_admin) return {};
  constexpr std::size_t kNamed = 3;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> users;  // sessions, uid
  for (const auto& [uid, count] : of_user_) users.emplace_back(count, uid);
  std::ranges::sort(users, std::greater());
  users.resize(std::min(users.size(), kNamed));
  std::string text;
  for (const auto& [count, uid] : users)
    text += fmt::format("{}{} of uid {}", text.empty() ? " (most: " : ", ", count, uid);
  return text + ")";
}

SessionRecord& SessionRegistry::restore(const KeptSession& kept, Caller owner) {
  ids_.reserve(kept.key.id);
  SessionRecord& record = sessions_[kept.key.id];
  record.key = kept.key;
  record.name = kept.name;
  record.restored = true;
  record.opened_ns = kept.opened_ns;
  record.reserve_bytes = kept.reserve_bytes;
  record.bound = kept.bound;
  record.process = {kept.process.pidfs_inode, kept.process.pid};
  record.pid = kept.process.pid;
  record.uid = kept.uid;
  ++of_user_[owner->uid];
  record.owner = std::move(owner);
  return record;
}

Answer<SessionRecord*> SessionRegistry::find(SessionKey key) {
  SessionRecord* record = find(key.id);
  const auto evicted = evicted_.find(key.id);
  if (evicted != evicted_.end() && evicted->second == key.secret)
    return refuse(Error::kEvicted, fmt::format("session {} was evicted", key.id));
  if (record == nullptr || record->reaping || record->key.secret != key.secret) {
    return refuse(Error::kUnknownSession,
                  fmt::format("session {} does not exist, has ended, or its secret is another",
                              key.id.value));
  }
  return record;
}

SessionRecord* SessionRegistry::find(SessionId id) {
  const auto found = sessions_.find(id);
  return found == sessions_.end() ? nullptr : &found->second;
}

void SessionRegistry::release(SessionId id) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return;
  const auto of_user = of_user_.find(found->second.owner->uid);
  if (--of_user->second == 0) of_user_.erase(of_user);
  sessions_.erase(found);
  ids_.put_back(id);
}

std::string SessionRegistry::name_of(SessionId id) const {
  const auto found = sessions_.find(id);
  return found == sessions_.end() ? "(ended)" : found->second.name;
}

}  // namespace arenad::server
