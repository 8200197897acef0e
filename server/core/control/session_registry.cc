#include "server/core/control/session_registry.h"

#include <utility>

#include "allocator/base/format.h"
#include "server/core/api/random.h"
#include "server/core/api/text.h"

namespace arenad::server {

Answer<SessionRecord*> SessionRegistry::open(Caller owner, const std::string& name,
                                             std::uint64_t now) {
  const std::string given = name.empty() ? "client" : name;
  if (!valid_name(given))
    return refuse(Error::kInvalidName, fmt::format("session name '{}'", given.substr(0, 80)));
  if (sessions_.size() >= limit_) {
    return refuse(Error::kQuotaDaemon,
                  fmt::format("the daemon has {} sessions, which is its limit", sessions_.size()));
  }
  const auto id = ids_.take();
  if (!id) return refuse(Error::kQuotaDaemon, "all session ids are in use");
  SessionRecord& record = sessions_[*id];
  record.key = {*id, random_u64()};
  record.name = given;
  record.opened_ns = now;
  record.uid = owner->uid;
  record.owner = std::move(owner);
  return &record;
}

SessionRecord& SessionRegistry::restore(const KeptSession& kept, Caller owner) {
  ids_.reserve(kept.key.id);
  SessionRecord& record = sessions_[kept.key.id];
  record.key = kept.key;
  record.name = kept.name;
  record.restored = true;
  record.opened_ns = kept.opened_ns;
  record.bound = kept.bound;
  record.process = {kept.process.pidfs_inode, kept.process.pid};
  record.pid = kept.process.pid;
  record.uid = kept.uid;
  record.owner = std::move(owner);
  return record;
}

Answer<SessionRecord*> SessionRegistry::find(SessionKey key) {
  SessionRecord* record = find(key.id);
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
  if (sessions_.erase(id) != 0) ids_.put_back(id);
}

std::string SessionRegistry::name_of(SessionId id) const {
  const auto found = sessions_.find(id);
  return found == sessions_.end() ? "(ended)" : found->second.name;
}

}  // namespace arenad::server
