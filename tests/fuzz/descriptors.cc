#include "tests/fuzz/descriptors.h"

#include <fcntl.h>

namespace arenad::fuzz {

int open_descriptors(int end) {
  int open = 0;
  for (int fd = 0; fd < end; ++fd) open += static_cast<int>(::fcntl(fd, F_GETFD) >= 0);
  return open;
}

}  // namespace arenad::fuzz
