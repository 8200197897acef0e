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

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "allocator/arena/arena.h"
#include "server/core/api/api.h"
#include "server/core/state/file_lock.h"

namespace arenad::server {

class StateDirectory {
 public:
  using Log = std::function<void(const std::string&)>;

  // An arena that is there: its ledger is sound, its other files are still to be looked at
  // (Arena::open).
  struct Found {
    ArenaFiles files;
    Ledger ledger;
  };

  // None: arenas are memfds and die with the daemon.
  StateDirectory() = default;
  // Makes it when it is not there; `data_directory` may be empty. Errors: kInvalidOption, with what
  // to do.
  static Answer<StateDirectory> open(const std::string& directory,
                                     const std::string& data_directory, Log log);
  bool is_open() const { return !directory_.empty(); }

  // What daemons before have left, by name; half made and half removed arenas are removed, damaged
  // files quarantined, and all of it is logged. Errors: kMachineFull.
  Answer<std::vector<Found>> scan();
  // Why an arena of that name cannot be made though there is none (its files are another layout
  // version's); empty when it can.
  std::string refused(const std::string& name) const;
  // Moves the files of that name away. Logged.
  void quarantine(const std::string& name, const std::string& why);
  // The same for the table of sessions.
  void quarantine_sessions(const std::string& why);

  // A new arena in files, or in memfds when there is no directory. Errors: those of Arena::create;
  // kInvalidOption when files of that name are in the way.
  Arena::Made create(const ArenaConfig& options, const ArenaAccess& access);
  // Removes its files, if it has any. The memory goes with the last mapping.
  void remove(Arena& arena);

  std::string sessions_path() const { return directory_ + "/sessions.table"; }
  ArenaFiles files_of(const std::string& name) const;

 private:
  enum class Finding { kGone, kSound, kRefused, kDamaged };
  Finding examine(const std::string& name, std::string& why);
  void remove_files(const ArenaFiles& files);
  std::string move_away(const std::string& name, const std::vector<std::string>& paths);

  std::string directory_;
  std::string data_directory_;
  Log log_;
  FileLock lock_;
  FileLock data_lock_;
  std::map<std::string, std::string> refused_;  // name -> why
};

}  // namespace arenad::server
