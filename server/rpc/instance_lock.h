// InstanceLock: one arenad a socket directory.
//
// Purpose: holds <directory>/arenad.lock while the daemon lives, so that a second one refuses to start instead of taking
//   the sockets away from the first.
// Threads: one. Crash: the kernel lets the lock go with the process; the file stays and does no harm.
#pragma once

#include <string>

#include "allocator/error.h"

namespace arenad::server {

class InstanceLock {
 public:
  // Makes the directory (0755) when it is not there, and takes the lock. Errors: kInvalidOption.
  static Result<InstanceLock, Failure> take(const std::string& directory);
  InstanceLock() = default;
  InstanceLock(InstanceLock&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  InstanceLock& operator=(InstanceLock&& other) noexcept;
  ~InstanceLock();

 private:
  explicit InstanceLock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

}  // namespace arenad::server
