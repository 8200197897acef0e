#include "tests/support/kept_pages.h"

#include <fcntl.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

namespace arenad::test {

SplicedPage::SplicedPage(const std::byte* page) {
  if (::pipe2(ends_, O_CLOEXEC) != 0) return;
  const iovec range{const_cast<std::byte*>(page), kKeptBytes};
  kept_ = ::vmsplice(ends_[1], &range, 1, 0) == static_cast<ssize_t>(kKeptBytes);
}

SplicedPage::~SplicedPage() {
  for (const int end : ends_)
    if (end >= 0) ::close(end);
}

std::string SplicedPage::read() {
  std::string bytes(kKeptBytes, '\0');
  const auto got = ::read(ends_[0], bytes.data(), bytes.size());
  bytes.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
  return bytes;
}

// The rings that the kernel shares, without liburing.
struct FixedBuffer::Ring {
  ~Ring() {
    if (entries != nullptr) ::munmap(entries, params.sq_entries * sizeof(io_uring_sqe));
    if (rings != nullptr) ::munmap(rings, bytes);
    if (fd >= 0) ::close(fd);
  }
  // Empty, or what did not work.
  std::string open(std::byte* page) {
    fd = static_cast<int>(::syscall(SYS_io_uring_setup, 2, &params));
    if (fd < 0) return failed("io_uring_setup");
    if ((params.features & IORING_FEAT_SINGLE_MMAP) == 0) return "io_uring: the kernel is too old";
    bytes = std::max(params.sq_off.array + params.sq_entries * sizeof(unsigned),
                     params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe));
    rings = static_cast<std::byte*>(map(bytes, IORING_OFF_SQ_RING));
    entries =
        static_cast<io_uring_sqe*>(map(params.sq_entries * sizeof(io_uring_sqe), IORING_OFF_SQES));
    if (rings == nullptr || entries == nullptr) return failed("mmap of io_uring");
    buffer = {page, kKeptBytes};
    if (::syscall(SYS_io_uring_register, fd, IORING_REGISTER_BUFFERS, &buffer, 1) != 0)
      return failed("io_uring_register");
    return {};
  }
  bool read_file(int file) {
    std::atomic_ref<unsigned> tail(word(params.sq_off.tail));
    const unsigned at = tail.load(std::memory_order_relaxed) & word(params.sq_off.ring_mask);
    io_uring_sqe& entry = entries[at];
    std::memset(&entry, 0, sizeof entry);
    entry.opcode = IORING_OP_READ_FIXED;
    entry.fd = file;
    entry.addr = reinterpret_cast<std::uint64_t>(buffer.iov_base);
    entry.len = kKeptBytes;
    entry.buf_index = 0;
    reinterpret_cast<unsigned*>(rings + params.sq_off.array)[at] = at;
    tail.fetch_add(1, std::memory_order_release);
    if (::syscall(SYS_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS, nullptr, 0) != 1)
      return false;
    std::atomic_ref<unsigned> head(word(params.cq_off.head));
    const unsigned done = head.load(std::memory_order_relaxed) & word(params.cq_off.ring_mask);
    const auto& answer = reinterpret_cast<io_uring_cqe*>(rings + params.cq_off.cqes)[done];
    const bool all = answer.res == static_cast<int>(kKeptBytes);
    head.fetch_add(1, std::memory_order_release);
    return all;
  }

  unsigned& word(unsigned offset) { return *reinterpret_cast<unsigned*>(rings + offset); }
  void* map(std::size_t length, std::uint64_t offset) const {
    void* const at = ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd,
                            static_cast<off_t>(offset));
    return at == MAP_FAILED ? nullptr : at;
  }
  static std::string failed(const char* what) {
    return std::string(what) + ": " + std::strerror(errno);
  }

  io_uring_params params{};
  int fd = -1;
  std::byte* rings = nullptr;
  std::size_t bytes = 0;
  io_uring_sqe* entries = nullptr;
  iovec buffer{};
};

FixedBuffer::FixedBuffer(std::byte* page) : ring_(std::make_unique<Ring>()) {
  refusal_ = ring_->open(page);
}

FixedBuffer::~FixedBuffer() = default;

bool FixedBuffer::read_file(int fd) { return refusal_.empty() && ring_->read_file(fd); }

}  // namespace arenad::test
