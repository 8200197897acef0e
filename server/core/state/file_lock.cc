#include "server/core/state/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "allocator/base/format.h"
#include "server/core/api/text.h"

namespace arenad::server {

Answer<FileLock> FileLock::take(const std::string& path, const std::string& what,
                                const std::string& flag) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!fd) {
    return Failure{Error::kInvalidOption,
                   fmt::format("cannot open {}: {}: the daemon must be able to write in its {}",
                               path, std::strerror(errno), what)};
  }
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    char pid[24] = {};
    const auto got = ::pread(fd.get(), pid, sizeof pid - 1, 0);
    return Failure{
        Error::kInvalidOption,
        fmt::format(
            "another arenad{} uses the {} already: stop it, or choose another directory with {}",
            got > 0 ? fmt::format(" (process {})", std::strtol(pid, nullptr, 10)) : std::string(),
            what, flag)};
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  // The number is for the message above only. When it cannot be written (hugetlbfs takes none), the
  // daemon starts all the same.
  if (::ftruncate(fd.get(), 0) == 0) [[maybe_unused]]
    const auto written = ::pwrite(fd.get(), pid.data(), pid.size(), 0);
  return FileLock(std::move(fd));
}

}  // namespace arenad::server
