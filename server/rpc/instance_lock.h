// InstanceLock: one arenad a socket directory.
//
// Purpose: holds <directory>/arenad.lock while the daemon lives, so that a second one refuses to
// start instead of taking
//   the sockets away from the first.
// Threads: one. Crash: the kernel lets the lock go with the process; the file stays and does no
// harm.
#pragma once

#include <string>

#include "server/core/state/file_lock.h"

namespace arenad::server {

// Makes the directory (0755) when it is not there, and takes the lock. Errors: kInvalidOption.
Answer<FileLock> lock_socket_directory(const std::string& directory);

}  // namespace arenad::server
