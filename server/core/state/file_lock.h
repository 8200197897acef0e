// FileLock: a file that one process at a time holds.
//
// Purpose: one arenad a socket directory, one a state directory. The file names the process that
// holds it, for the message to
//   the second.
// Threads: one. Crash: the kernel lets the lock go with the process; the file stays and does no
// harm.
#pragma once

#include <string>

#include "server/core/api/api.h"
#include "allocator/base/unique_fd.h"

namespace arenad::server {

class FileLock {
 public:
  FileLock() = default;
  // `what` is what the lock stands for ("socket directory /run/arenad"), `flag` where another is
  // named. Errors: kInvalidOption.
  static Answer<FileLock> take(const std::string& path, const std::string& what,
                               const std::string& flag);

 private:
  explicit FileLock(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace arenad::server
