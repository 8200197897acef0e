#include "client/load/track.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace arenad::load {

void Track::fail(const std::string& why) {
  const std::size_t n = std::min(why.size(), sizeof failure - 1);
  std::memcpy(failure, why.data(), n);
  failure[n] = 0;
  failed.store(1, std::memory_order_release);
}

Tracks::Tracks(int fd) : fd_(fd) {
  void* p = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (p == MAP_FAILED)
    throw std::system_error(errno, std::generic_category(), "mapping the workers' tracks");
  shared_ = static_cast<Shared*>(p);
}

Tracks::Tracks()
    : Tracks([] {
        const int fd = ::memfd_create("arena-load-tracks", 0);
        if (fd < 0 || ::ftruncate(fd, sizeof(Shared)) != 0)
          throw std::system_error(errno, std::generic_category(), "memory for the workers' tracks");
        return fd;
      }()) {}

Tracks Tracks::attach(int fd) { return Tracks(fd); }

Tracks::Tracks(Tracks&& o) noexcept
    : fd_(std::exchange(o.fd_, -1)), shared_(std::exchange(o.shared_, nullptr)) {}

Tracks::~Tracks() {
  if (shared_ != nullptr) ::munmap(shared_, sizeof(Shared));
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace arenad::load
