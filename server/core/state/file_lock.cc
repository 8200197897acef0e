#include "server/core/state/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "allocator/base/format.h"
#include "server/core/api/text.h"

namespace arenad::server {
namespace {

// `lock_file` may be -1: then nobody knows which process it is.
Failure used_already(int lock_file, const std::string& what, const std::string& flag) {
  char pid[24] = {};
  const auto got = ::pread(lock_file, pid, sizeof pid - 1, 0);
  return {Error::kInvalidOption,
          fmt::format(
              "another arenad{} uses the {} already: stop it, or choose another directory with {}",
              got > 0 ? fmt::format(" (process {})", std::strtol(pid, nullptr, 10)) : std::string(),
              what, flag)};
}

}  // namespace

Answer<FileLock> FileLock::take(const std::string& path, const std::string& what,
                                const std::string& flag) {
  // Not to be opened by others, who could hold the lock and keep the daemon from starting.
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
  struct stat st;
  if (!fd || ::fstat(fd.get(), &st) != 0) {
    return Failure{Error::kInvalidOption,
                   fmt::format("cannot open {}: {}: the daemon must be able to write in its {}",
                               path, std::strerror(errno), what)};
  }
  if (!S_ISREG(st.st_mode) || st.st_uid != ::geteuid() || st.st_nlink != 1) {
    return Failure{
        Error::kInvalidOption,
        fmt::format("{} is no plain file of user {}, as whom arenad runs: look who made it, and "
                    "remove it",
                    path, ::geteuid())};
  }
  ::fchmod(fd.get(), 0600);  // a former version made it with 0644
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) return used_already(fd.get(), what, flag);
  const std::string pid = std::to_string(::getpid()) + "\n";
  // The number is for the message above only. When it cannot be written (hugetlbfs takes none), the
  // daemon starts all the same.
  if (::ftruncate(fd.get(), 0) == 0) [[maybe_unused]]
    const auto written = ::pwrite(fd.get(), pid.data(), pid.size(), 0);
  return FileLock(std::move(fd));
}

Answer<FileLock> FileLock::take_directory(const std::string& directory, const std::string& what,
                                          const std::string& flag) {
  const std::string path = directory + "/lock";
  UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) {
    return Failure{Error::kInvalidOption,
                   fmt::format("cannot open the {}: {}: choose another with {}", what,
                               std::strerror(errno), flag)};
  }
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    return used_already(file.get(), what, flag);
  }
  auto lock = take(path, what, flag);
  if (lock.ok()) lock->directory_ = std::move(fd);
  return lock;
}

}  // namespace arenad::server
