#include "client/load/chaos/board.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "client/load/link.h"

namespace arenad::load::chaos {

void Board::found(std::atomic<std::uint64_t>& kind, const std::string& what) {
  kind.fetch_add(1, std::memory_order_relaxed);
  const std::uint32_t i = finding_count.fetch_add(1, std::memory_order_relaxed);
  if (i >= kFindings) return;
  const std::size_t n = std::min(what.size(), sizeof findings[i] - 1);
  std::memcpy(findings[i], what.data(), n);
  findings[i][n] = 0;
}

Board& open_board(int fd) {
  void* mapped = ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED)
    throw LoadError(std::string("memory for the chaos peers' board: ") + std::strerror(errno));
  return *static_cast<Board*>(mapped);
}

Board& make_board() {
  const int fd = ::memfd_create("chaos-board", MFD_CLOEXEC);
  if (fd < 0 || ::ftruncate(fd, sizeof(Board)) != 0)
    throw LoadError(std::string("a memfd for the chaos peers' board: ") + std::strerror(errno));
  Board& board = open_board(fd);
  board.fd = fd;
  return board;
}

}  // namespace arenad::load::chaos
