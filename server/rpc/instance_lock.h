// The instance lock: at most one arenad on a socket directory.
//
// Purpose: holds <directory>/arenad.lock while the daemon lives. A second daemon refuses to start
// instead of taking the sockets away from the first.
// Threads: one. Crash: the kernel frees the lock with the process. The file stays and does no harm.
#pragma once

#include <string>

#include "server/core/state/file_lock.h"

namespace arenad::server {

// Makes the directory with mode 0755 when it does not exist, and takes the lock. A directory in
// which other users may write is refused: they could put sockets of their own in place of the
// daemon's.
// Errors: kInvalidOption.
Answer<FileLock> lock_socket_directory(const std::string& directory);

}  // namespace arenad::server
