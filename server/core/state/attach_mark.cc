#include "server/core/state/attach_mark.h"

#include <fcntl.h>

namespace arenad::server {
namespace {

// `bytes` 0: from there to the end of the file and beyond.
struct flock on_bytes(short type, off_t first, off_t bytes) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = first;
  lock.l_len = bytes;
  return lock;
}

bool would_conflict(int fd, struct flock lock) {
  return ::fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

}  // namespace

bool set_attach_mark(int data_fd, SessionId session) {
  struct flock lock = on_bytes(F_RDLCK, session.value, 1);
  return ::fcntl(data_fd, F_OFD_SETLK, &lock) == 0;
}

bool has_attach_mark(int data_fd, SessionId session) {
  return would_conflict(data_fd, on_bytes(F_WRLCK, session.value, 1));
}

bool has_attach_marks(int data_fd) { return would_conflict(data_fd, on_bytes(F_WRLCK, 0, 0)); }

}  // namespace arenad::server
