// FileLock: a file, or a directory with the file `lock` in it, that one process at a time holds.
//
// Purpose: one arenad a socket directory, and one a state directory. The file names the process
// that holds it, for the message to the second process.
// Invariants: the file is the daemon's own, with mode 0600. So no other user can hold it. A file
// that was removed locks nobody out. So where two processes would damage what they share, the
// directory itself is locked, and the file is there for its text.
// Threads: one thread.
// Crash: the kernel ends the lock with the process. The file stays and does no harm.
#pragma once

#include <string>

#include "allocator/base/unique_fd.h"
#include "server/core/api/api.h"

namespace arenad::server {

class FileLock {
 public:
  FileLock() = default;
  // `what` names what the lock stands for ("socket directory /run/arenad"). `flag` is the flag that
  // chooses another. Errors: kInvalidOption.
  static Answer<FileLock> take(const std::string& path, const std::string& what,
                               const std::string& flag);
  // The same for the whole directory. Its file `lock` is locked, too: former versions of arenad
  // look there.
  static Answer<FileLock> take_directory(const std::string& directory, const std::string& what,
                                         const std::string& flag);

 private:
  explicit FileLock(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
  UniqueFd directory_;
};

}  // namespace arenad::server
