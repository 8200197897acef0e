// StateDirectory: the files of arenas that outlive their daemon.
//
// Purpose: checks and locks the directory, names the files (NAME.ledger, NAME.control, NAME.data),
// makes and removes those of an arena, and finds at start what former daemons have left.
// Invariants: the directory is 0700 and the daemon's own. So is the directory for data, where there
// is one (hugetlbfs). One daemon at a time uses them. Files that are not understood are moved to
// quarantine/ or left alone, never deleted.
// Threads: one thread.
// Crash: an arena's ledger is the first file made and the last file removed. It says whether the
// arena is being made, is whole, or is being removed. So a kill at any moment leaves one of: no
// ledger; an empty ledger alone; a ledger that says what was going on; a whole arena. The next
// daemon moves on files that are half way to quarantine, to the same place.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "allocator/arena/arena.h"
#include "server/core/api/api.h"
#include "server/core/api/log.h"
#include "server/core/state/file_lock.h"
#include "server/core/state/file_watch.h"

namespace arenad::server {

class StateDirectory {
 public:
  // An arena whose ledger is sound. Arena::open looks at its other files.
  struct Found {
    ArenaFiles files;
    Ledger ledger;
  };

  // No directory: arenas are memfds and end with the daemon.
  StateDirectory() = default;
  // Makes the directory when there is none. `data_directory` may be empty. Errors: kInvalidOption,
  // with what to do.
  static Answer<StateDirectory> open(const std::string& directory,
                                     const std::string& data_directory, Log log);
  bool is_open() const { return !directory_.empty(); }
  const std::string& path() const { return directory_; }

  // What former daemons have left, by name. Half made and half removed arenas are removed, damaged
  // files are quarantined, and the log says so. Errors: kMachineFull.
  Answer<std::vector<Found>> scan();
  // Why an arena of that name cannot be made though there is none: its files have another layout
  // version. Empty when it can be made.
  std::string refused(const std::string& name) const;
  // Moves the files of that name away, and logs that.
  void quarantine(const std::string& name, const std::string& why);
  // The same for the table of sessions.
  void quarantine_sessions(const std::string& why);

  // Makes an arena in files, or in memfds when there is no directory. A pinned arena is not whole
  // before the caller has committed it and calls Arena::finish_creation. Errors: those of
  // Arena::create; kInvalidOption when files of that name are in the way.
  Arena::Made create(const ArenaConfig& options, const ArenaAccess& access);
  // Removes the files of the arena, if it has any. The memory goes with the last mapping.
  void remove(Arena& arena);

  // What the next daemon would not find, because files were removed or replaced since they were
  // made or found. What remove() has removed is not lost.
  struct Lost {
    std::set<std::string> arenas;  // names
    bool sessions = false;         // the table of sessions
    bool any() const { return sessions || !arenas.empty(); }
  };
  Lost lost() const;
  // Whether the table of sessions is lost, or one of the next `most` arenas. Each call goes on with
  // the arenas that come after those of the call before.
  bool next_lost(std::size_t most);
  // The table of sessions is open: from here on it can be lost.
  void watch_sessions();

  std::string sessions_path() const { return directory_ + "/sessions.table"; }
  ArenaFiles files_of(const std::string& name) const;

 private:
  enum class Finding { kGone, kSound, kRefused, kDamaged };
  Finding examine(const std::string& name, std::string& why);
  void remove_files(const ArenaFiles& files);
  std::string move_away(const std::string& name, const std::vector<std::string>& paths);
  void watch_arena(const std::string& name);
  void forget_arena(const std::string& name);
  bool stands(const std::string& arena) const;

  std::string directory_;
  std::string data_directory_;
  Log log_;
  FileLock lock_;
  FileLock data_lock_;
  std::map<std::string, std::string> refused_;  // name -> why
  FileWatch watch_;
  std::set<std::string> arenas_;  // names of those whose files are watched
  std::string last_looked_at_;    // by next_lost
  bool sessions_watched_ = false;
};

}  // namespace arenad::server
