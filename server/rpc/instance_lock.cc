#include "server/rpc/instance_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "server/core/text.h"

namespace arenad::server {

Result<InstanceLock, Failure> InstanceLock::take(const std::string& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) {
    return Failure{Error::kInvalidOption, concat("cannot make the socket directory ", directory, ": ", error.message(),
                                                 ": make it yourself, or choose another with --socket-dir")};
  }
  const std::string path = directory + "/arenad.lock";
  InstanceLock lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (lock.fd_ < 0) {
    return Failure{Error::kInvalidOption, concat("cannot open ", path, ": ", std::strerror(errno),
                                                 ": the daemon must be able to write in its socket directory")};
  }
  if (::flock(lock.fd_, LOCK_EX | LOCK_NB) != 0) {
    char pid[24] = {};
    const auto got = ::pread(lock.fd_, pid, sizeof pid - 1, 0);
    return Failure{Error::kInvalidOption,
                   concat("another arenad", got > 0 ? concat(" (process ", std::strtol(pid, nullptr, 10), ")") : std::string(),
                          " serves ", directory, " already: stop it, or choose another directory with --socket-dir")};
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  // For the message above only: a number that could not be written is no reason not to start.
  if (::ftruncate(lock.fd_, 0) == 0) [[maybe_unused]] const auto written = ::pwrite(lock.fd_, pid.data(), pid.size(), 0);
  return lock;
}

InstanceLock& InstanceLock::operator=(InstanceLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

InstanceLock::~InstanceLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace arenad::server
