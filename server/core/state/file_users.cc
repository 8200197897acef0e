#include "server/core/state/file_users.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>
#include <csignal>

#include "server/core/state/attach_mark.h"

namespace arenad::server {

UniqueFd watch_users(int fd) {
  return UniqueFd(::open(fmt::format("/proc/self/fd/{}", fd).c_str(), O_RDONLY | O_CLOEXEC));
}

bool has_other_users(const UniqueFd& watched) {
  // Who opens the file while the lease is there makes the kernel send a signal. SIGIO would end the
  // daemon. SIGURG does nothing.
  if (::fcntl(watched.get(), F_SETSIG, SIGURG) != 0) return has_attach_marks(watched.get());
  if (::fcntl(watched.get(), F_SETLEASE, F_WRLCK) != 0)
    return errno == EAGAIN || has_attach_marks(watched.get());
  ::fcntl(watched.get(), F_SETLEASE, F_UNLCK);
  return false;
}

}  // namespace arenad::server
