// SessionStore: the table of sessions that outlives its daemon.
//
// Purpose: a file of the state directory with one fixed record for each session id. A later daemon
// needs the record to know the session by its key again, and to tell whether its process lives.
// Invariants: the last store to a record makes it valid, the first store makes it invalid. A
// checksum covers what is in it. Its pages are committed before they are written, so no store
// raises SIGBUS. Without a file nothing is kept, and every call does nothing.
// Threads: the control thread.
// Crash: plain stores to a shared mapping survive SIGKILL. A half written record is not valid. A
// half written binding has not happened: the process has not got its answer yet.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "allocator/format/memory_file.h"
#include "server/core/api/api.h"
#include "server/core/api/principal.h"
#include "server/core/state/process_mark.h"

namespace arenad::server {

struct KeptSession {
  SessionKey key;
  std::string name;
  std::uint64_t limit_bytes = 0;  // as OpenSession or SetSessionLimit asked for
  std::uint64_t reserve_bytes = 0;
  std::uint64_t opened_ns = 0;
  std::uint32_t owner_uid = Principal::kNoUser;  // of who opened it
  std::uint32_t owner_gid = Principal::kNoUser;
  std::uint32_t uid = 0;  // of the process it is bound to
  std::uint32_t gid = 0;
  bool ending = false;  // closed, or its process was seen dead: nobody acts for the session
  bool bound = false;
  ProcessMark process;   // when bound
  bool damaged = false;  // there was a session, and what was written of it is lost
};

class SessionStore {
 public:
  SessionStore() = default;
  // Makes the file when there is none. Errors: kInvalidOption (the file is damaged: another size or
  // form), kModeUnavailable (another version's), kMachineFull.
  static Answer<SessionStore> open(const std::string& path);
  bool is_open() const { return file_.base() != nullptr; }
  // Whether open() has made the table: there was none, or nobody had written to it.
  bool is_new() const { return is_new_; }

  std::map<SessionId, KeptSession> all() const;

  // Errors: kMachineFull.
  Answer<Nothing> put(const KeptSession& session);  // not bound yet
  void bind(SessionId id, const ProcessMark& process, std::uint32_t uid, std::uint32_t gid);
  void set_limit(SessionId id, std::uint64_t limit_bytes);
  void mark_ending(SessionId id);
  void clear(SessionId id);

 private:
  struct Record;
  Record& record(SessionId id) const;
  MemoryFile file_;
  bool is_new_ = false;
};

}  // namespace arenad::server
