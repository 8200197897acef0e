// SessionRegistry: the sessions that there are.
//
// Purpose: id, secret, name, attachments and process of each session.
// Invariants: an id is given out again only after release(), which is called when the session's end
// is complete. The id then rests as long as possible. The key of a session that is reaping works
// for nobody.
// Threads: the control thread.
// Crash: private memory. Sessions end with the daemon, unless a SessionStore keeps them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "server/core/api/api.h"
#include "server/core/api/limits.h"
#include "server/core/control/id_pool.h"
#include "server/core/handoff/caller_process.h"
#include "server/core/state/session_store.h"

namespace arenad::server {

struct SessionRecord {
  SessionKey key;
  std::string name;
  std::uint64_t opened_ns = 0;
  std::uint64_t reserve_bytes = 0;
  bool reaping = false;
  bool restored = false;  // a former daemon opened it
  bool bound = false;     // a handoff bound it to the process below
  bool watched = false;   // its pidfd is watched; not when a restart could not find the process
  ProcessIdentity process;
  std::int32_t pid = 0;
  std::uint32_t uid = 0;
  Caller owner = nobody();                             // who opened it, and whose rights it has
  std::map<std::uint64_t, OnSessionEvent> keepalives;  // by stream id
  std::map<ArenaId, AttachMode> attached;              // by arena id
  bool slow_to_trim = false;  // owes an answer to a request to trim, and is not asked before

  // TCP's sessions are those of one user that nobody is.
  bool belongs_to(const Principal& who) const { return who.is_admin || who.uid == owner->uid; }
};

class SessionRegistry {
 public:
  explicit SessionRegistry(const Limits& limits) : limits_(limits), ids_(1, 65534) {}

  // Errors: kInvalidName, kQuotaDaemon, kQuotaUser.
  Answer<SessionRecord*> open(Caller owner, const std::string& name, std::uint64_t now);
  // A session that a former daemon has left. restore comes before the first open.
  SessionRecord& restore(const KeptSession& kept, Caller owner);
  // The living session that the key proves. Errors: kUnknownSession, kEvicted.
  Answer<SessionRecord*> find(SessionKey key);
  SessionRecord* find(SessionId id);  // reaping ones too
  // The session is gone; its id rests.
  void release(SessionId id);

  // An id that no session has until it is put back.
  std::optional<SessionId> take_id() { return ids_.take(); }
  void put_back_id(SessionId id) { ids_.put_back(id); }

  // Until the id is another session's, the key's calls answer kEvicted.
  void remember_evicted(SessionKey key) { evicted_[key.id] = key.secret; }

  // Its name, or "(ended)".
  std::string name_of(SessionId id) const;
  std::map<SessionId, SessionRecord>& all() { return sessions_; }

 private:
  // " (most: 900 of uid 1000, ...)" for administrators, nothing for others.
  std::string biggest_users(const Principal& caller) const;
  Failure check_quota(const Principal& owner) const;

  const Limits limits_;
  IdPool<SessionId> ids_;
  std::map<SessionId, std::uint64_t> evicted_;      // secrets
  std::map<std::uint32_t, std::uint32_t> of_user_;  // sessions, by uid of their owner
  std::map<SessionId, SessionRecord> sessions_;     // in order of id, as ListSessions gives them
};

}  // namespace arenad::server
