#include "server/core/state/attach_mark.h"

#include <fcntl.h>

namespace arenad::server {
namespace {

struct flock on_byte(short type, SessionId session) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = session.value;
  lock.l_len = 1;
  return lock;
}

}  // namespace

bool set_attach_mark(int data_fd, SessionId session) {
  struct flock lock = on_byte(F_RDLCK, session);
  return ::fcntl(data_fd, F_OFD_SETLK, &lock) == 0;
}

bool has_attach_mark(int data_fd, SessionId session) {
  struct flock lock = on_byte(F_WRLCK, session);
  return ::fcntl(data_fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

}  // namespace arenad::server
