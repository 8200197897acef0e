#include "server/core/state/state_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <set>
#include <string_view>
#include <utility>

#include "allocator/base/format.h"
#include "allocator/base/unique_fd.h"
#include "server/core/api/text.h"

namespace arenad::server {
namespace {

constexpr std::string_view kLedger = ".ledger", kControl = ".control", kData = ".data";

bool exists(const std::string& path) {
  struct stat st;
  return ::lstat(path.c_str(), &st) == 0;
}

// Names of the files in a directory that have one of the endings, without the ending.
std::set<std::string> names_in(const std::string& directory,
                               std::initializer_list<std::string_view> endings) {
  std::set<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(directory.c_str()), ::closedir);
  while (const dirent* entry = dir ? ::readdir(dir.get()) : nullptr) {
    const std::string_view file = entry->d_name;
    for (const std::string_view ending : endings)
      if (file.size() > ending.size() && file.ends_with(ending))
        names.emplace(file.substr(0, file.size() - ending.size()));
  }
  return names;
}

// Makes the directory when there is none, and checks that it is 0700 and the daemon's own.
Failure check_directory(const std::string& directory, const char* what, const Log& log) {
  const auto bad = [&](const std::string& why) {
    return Failure{Error::kInvalidOption, fmt::format("{} {}{}", what, directory, why)};
  };
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
    return bad(fmt::format(" cannot be made: {}: make it with mode 0700, or choose another",
                           std::strerror(errno)));
  }
  const UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat st;
  struct statfs fs;
  if (!fd || ::fstat(fd.get(), &st) != 0 || ::fstatfs(fd.get(), &fs) != 0)
    return bad(fmt::format(": {}", std::strerror(errno)));
  if (st.st_uid != ::geteuid()) {
    return bad(fmt::format(
        " belongs to user {}, arenad runs as user {}: run 'chown {} {}', or choose another",
        st.st_uid, ::geteuid(), ::geteuid(), directory));
  }
  if ((st.st_mode & 07777) != 0700) {
    return bad(
        fmt::format(" has mode 0{:03o}, others could reach the arenas in it: run 'chmod 0700 {}'",
                    st.st_mode & 07777, directory));
  }
  if (fs.f_type != TMPFS_MAGIC && fs.f_type != HUGETLBFS_MAGIC && fs.f_type != RAMFS_MAGIC) {
    log(LogLevel::kWarning,
        fmt::format(
            "{} {} is neither on tmpfs nor on hugetlbfs: arenas will be as slow as its disk", what,
            directory));
  }
  return {};
}

}  // namespace

Answer<StateDirectory> StateDirectory::open(const std::string& directory,
                                            const std::string& data_directory, Log log) {
  StateDirectory state;
  state.directory_ = directory;
  state.data_directory_ = data_directory.empty() ? directory : data_directory;
  state.log_ = std::move(log);
  if (Failure f = check_directory(directory, "state directory", state.log_);
      f.error != Error::kNone)
    return f;
  auto lock = FileLock::take_directory(directory, fmt::format("state directory {}", directory),
                                       "--state-dir");
  if (!lock.ok()) return lock.error();
  state.lock_ = std::move(*lock);
  if (state.data_directory_ != directory) {
    if (Failure f = check_directory(data_directory, "data directory", state.log_);
        f.error != Error::kNone)
      return f;
    auto data_lock = FileLock::take_directory(
        data_directory, fmt::format("data directory {}", data_directory), "--data-dir");
    if (!data_lock.ok()) return data_lock.error();
    state.data_lock_ = std::move(*data_lock);
  }
  return state;
}

ArenaFiles StateDirectory::files_of(const std::string& name) const {
  return {fmt::format("{}/{}{}", data_directory_, name, kData),
          fmt::format("{}/{}{}", directory_, name, kControl),
          fmt::format("{}/{}{}", directory_, name, kLedger)};
}

std::string StateDirectory::refused(const std::string& name) const {
  const auto found = refused_.find(name);
  return found == refused_.end() ? std::string() : found->second;
}

// --- what there is

StateDirectory::Finding StateDirectory::examine(const std::string& name, std::string& why) {
  if (!valid_name(name)) {
    why = "no arena can have that name";
    return Finding::kDamaged;
  }
  const ArenaFiles files = files_of(name);
  LedgerHeader header{};
  // O_NONBLOCK: a FIFO of that name would keep the daemon waiting for its writer.
  const UniqueFd fd(
      ::open(files.ledger_path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  const auto got = fd ? ::pread(fd.get(), static_cast<void*>(&header), sizeof header, 0) : -1;
  if (got < 0) {
    why = fmt::format("its ledger cannot be read: {}", std::strerror(errno));
    return Finding::kDamaged;
  }
  if (header.magic == 0 && !exists(files.control_path) && !exists(files.data_path)) {
    // The magic is the last word of the ledger's header, and the other files are made after it.
    // This header was never written.
    remove_files(files);
    log_(LogLevel::kInfo,
         fmt::format("arena '{}' was being made when its daemon died: removed", name));
    return Finding::kGone;
  }
  if (got != sizeof header || header.magic != kLedgerMagic) {
    why = "its ledger does not begin as one";
    return Finding::kDamaged;
  }
  if (header.version != kLayoutVersion) {
    why = fmt::format(
        "its files have layout version {}, this arenad knows {}: run the arenad that made it, or "
        "remove {}.ledger, .control and .data",
        header.version, kLayoutVersion, name);
    return Finding::kRefused;
  }
  const std::uint32_t life = header.life.load(std::memory_order_relaxed);
  if (life == LedgerHeader::kCreating || life == LedgerHeader::kDeleting) {
    remove_files(files);
    log_(LogLevel::kInfo, fmt::format("arena '{}' was being {} when its daemon died: removed", name,
                                      life == LedgerHeader::kCreating ? "made" : "deleted"));
    return Finding::kGone;
  }
  if (life != LedgerHeader::kLive || header.checksum != Ledger::checksum_of(header)) {
    why = "its ledger's header is damaged";
  } else if (std::string_view(header.name, ::strnlen(header.name, kMaxNameBytes)) != name) {
    why = fmt::format("its ledger is another arena's, '{}'",
                      std::string(header.name, ::strnlen(header.name, kMaxNameBytes)));
  }
  return why.empty() ? Finding::kSound : Finding::kDamaged;
}

Answer<std::vector<StateDirectory::Found>> StateDirectory::scan() {
  std::vector<Found> found;
  std::map<std::uint32_t, std::string> by_id;
  for (const std::string& name : names_in(directory_, {kLedger})) {
    std::string why;
    switch (examine(name, why)) {
      case Finding::kGone: continue;
      case Finding::kRefused:
        log_(LogLevel::kWarning, fmt::format("arena '{}' is left alone: {}", name, why));
        refused_[name] = why;
        continue;
      case Finding::kDamaged: quarantine(name, why); continue;
      case Finding::kSound: break;
    }
    auto ledger = Ledger::open_file(files_of(name).ledger_path);
    if (!ledger.ok()) {
      if (ledger.error().error == Error::kMachineFull) return ledger.error();
      quarantine(name, ledger.error().message);
      continue;
    }
    const auto [first, only] = by_id.emplace(ledger->header().arena_id, name);
    if (!only) {
      quarantine(name, fmt::format("it has the id of arena '{}'", first->second));
      continue;
    }
    watch_arena(name);
    found.push_back({files_of(name), std::move(*ledger)});
  }
  std::set<std::string> orphans = names_in(directory_, {kControl, kData});
  orphans.merge(names_in(data_directory_, {kData}));
  for (const std::string& name : orphans)
    if (!exists(files_of(name).ledger_path)) quarantine(name, "there is no ledger for it");
  return found;
}

// --- quarantine

// Moves the files to the first quarantine/NAME.<n> that has none of them. When a daemon is killed
// half way, the next daemon finds the same place for the rest.
std::string StateDirectory::move_away(const std::string& name,
                                      const std::vector<std::string>& paths) {
  const auto file_of = [](const std::string& path) { return path.substr(path.rfind('/') + 1); };
  const auto place_of = [](const std::string& path, const std::string& folder) {
    return fmt::format("{}/quarantine/{}", path.substr(0, path.rfind('/')), folder);
  };
  std::vector<std::string> there;
  for (const std::string& path : paths)
    if (exists(path)) there.push_back(path);
  std::string folder;
  for (int n = 1;; ++n) {
    folder = fmt::format("{}.{}", name, n);
    if (std::none_of(there.begin(), there.end(), [&](const std::string& p) {
          return exists(place_of(p, folder) + "/" + file_of(p));
        }))
      break;
  }
  std::string problem;
  for (const std::string& path : there) {
    const std::string place = place_of(path, folder);
    ::mkdir(place.substr(0, place.rfind('/')).c_str(), 0700);
    ::mkdir(place.c_str(), 0700);
    if (::rename(path.c_str(), fmt::format("{}/{}", place, file_of(path)).c_str()) != 0)
      problem = fmt::format("{}: {}", path, std::strerror(errno));
  }
  if (!problem.empty())
    return fmt::format("its files could not be moved to quarantine/{} ({})", folder, problem);
  return fmt::format("its files are in {}/quarantine/{}", directory_, folder);
}

void StateDirectory::quarantine(const std::string& name, const std::string& why) {
  forget_arena(name);
  const ArenaFiles files = files_of(name);
  const std::string outcome =
      move_away(name, {files.data_path, files.control_path, files.ledger_path});
  log_(LogLevel::kError,
       fmt::format("arena '{}' is damaged, {}: {}, nothing was deleted", name, why, outcome));
  // The name stays taken when files could not be moved.
  if (exists(files.data_path) || exists(files.control_path) || exists(files.ledger_path))
    refused_[name] = outcome;
}

void StateDirectory::quarantine_sessions(const std::string& why) {
  log_(LogLevel::kError,
       fmt::format("the table of sessions is damaged, {}: {}, nothing was deleted", why,
                   move_away("sessions", {sessions_path()})));
}

// --- lost

StateDirectory::Lost StateDirectory::lost() const {
  Lost lost;
  for (const std::string& name : arenas_)
    if (!stands(name)) lost.arenas.insert(name);
  lost.sessions = sessions_watched_ && !watch_.stands(sessions_path());
  return lost;
}

bool StateDirectory::next_lost(std::size_t most) {
  if (sessions_watched_ && !watch_.stands(sessions_path())) return true;
  for (std::size_t left = std::min(most, arenas_.size()); left > 0; --left) {
    auto next = arenas_.upper_bound(last_looked_at_);
    if (next == arenas_.end()) next = arenas_.begin();
    last_looked_at_ = *next;
    if (!stands(*next)) return true;
  }
  return false;
}

bool StateDirectory::stands(const std::string& arena) const {
  const ArenaFiles files = files_of(arena);
  return watch_.stands(files.data_path) && watch_.stands(files.control_path) &&
         watch_.stands(files.ledger_path);
}

void StateDirectory::watch_sessions() {
  watch_.add(sessions_path());
  sessions_watched_ = true;
}

void StateDirectory::watch_arena(const std::string& name) {
  const ArenaFiles files = files_of(name);
  for (const std::string& path : {files.data_path, files.control_path, files.ledger_path})
    watch_.add(path);
  arenas_.insert(name);
}

void StateDirectory::forget_arena(const std::string& name) {
  const ArenaFiles files = files_of(name);
  for (const std::string& path : {files.data_path, files.control_path, files.ledger_path})
    watch_.drop(path);
  arenas_.erase(name);
}

// --- made and removed

Arena::Made StateDirectory::create(const ArenaConfig& options, const ArenaAccess& access) {
  if (!is_open()) return Arena::create(options);
  const ArenaFiles files = files_of(options.name);
  for (const std::string& path : {files.ledger_path, files.control_path, files.data_path})
    if (exists(path))
      return Failure{Error::kInvalidOption,
                     fmt::format("the file {} is in the way: move it elsewhere", path)};
  auto made = Arena::create(options, &files);
  if (!made.ok()) {
    remove_files(files);
    return made;
  }
  LedgerHeader& header = (*made)->ledger().header();
  header.access_uid = access.uid;
  header.access_gid = access.gid;
  header.access_mode = access.mode;
  watch_arena(options.name);
  if (!options.pinned) (*made)->finish_creation();
  return made;
}

void StateDirectory::remove(Arena& arena) {
  if (!is_open()) return;
  arena.ledger().header().life.store(LedgerHeader::kDeleting, std::memory_order_release);
  forget_arena(arena.options().name);
  remove_files(files_of(arena.options().name));
}

// The ledger goes last: as long as it exists, it says what becomes of the other files.
void StateDirectory::remove_files(const ArenaFiles& files) {
  for (const std::string& path : {files.data_path, files.control_path, files.ledger_path})
    if (::unlink(path.c_str()) != 0 && errno != ENOENT)
      log_(LogLevel::kWarning, fmt::format("cannot remove {}: {}", path, std::strerror(errno)));
}

}  // namespace arenad::server
