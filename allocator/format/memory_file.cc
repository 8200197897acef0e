#include "allocator/format/memory_file.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "allocator/base/format.h"

namespace arenad {
namespace {

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

Failure machine_full(const std::string& what) {
  return system_failure(Error::kMachineFull, what, errno);
}

Failure invalid_file(const std::string& path, const std::string& why) {
  return {Error::kInvalidOption, fmt::format("{} is not usable: {}", path, why)};
}

int open_memfd(const std::string& name) {
  const int fd = ::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
  if (fd >= 0 || errno != EINVAL) return fd;
  return ::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING);  // before Linux 6.3
}

bool begins_huge_page(const std::byte* at) {
  return reinterpret_cast<std::uintptr_t>(at) % kHugePageBytes == 0;
}

std::byte* map_anywhere(int fd, std::uint64_t bytes, int protection, int flags) {
  void* const p = ::mmap(nullptr, bytes, protection, flags, fd, 0);
  return p == MAP_FAILED ? nullptr : static_cast<std::byte*>(p);
}

}  // namespace

std::byte* map_file(int fd, std::uint64_t bytes, int protection, int flags) {
  std::byte* const first = map_anywhere(fd, bytes, protection, flags);
  if (first == nullptr || bytes < kHugePageBytes || begins_huge_page(first)) return first;
  ::munmap(first, bytes);
  // Room for a mapping and a huge page. What is left in front and behind is unmapped.
  std::byte* const room = map_anywhere(-1, bytes + kHugePageBytes, PROT_NONE,
                                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
  if (room == nullptr) return nullptr;
  const std::uint64_t front =
      kHugePageBytes - reinterpret_cast<std::uintptr_t>(room) % kHugePageBytes;
  void* const p = ::mmap(room + front, bytes, protection, flags | MAP_FIXED, fd, 0);
  if (p == MAP_FAILED) {
    const int why = errno;
    ::munmap(room, bytes + kHugePageBytes);
    errno = why;
    return nullptr;
  }
  ::munmap(room, front);
  if (front != kHugePageBytes) ::munmap(room + front + bytes, kHugePageBytes - front);
  return static_cast<std::byte*>(p);
}

MemoryFile::~MemoryFile() {
  if (base_ != nullptr) ::munmap(base_, bytes_);
}

Error MemoryFile::map() {
  base_ = map_file(fd_.get(), bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE);
  if (base_ == nullptr) return Error::kMachineFull;
  ::madvise(base_, bytes_, MADV_DONTFORK);
  return Error::kNone;
}

Result<MemoryFile, Failure> MemoryFile::create(const std::string& name, std::uint64_t bytes,
                                               bool map) {
  MemoryFile file;
  file.bytes_ = bytes;
  file.fd_ = UniqueFd(open_memfd(name));
  if (!file.fd_) return machine_full("memfd_create");
  if (::fchmod(file.fd_.get(), 0600) != 0) return machine_full("fchmod of a memfd");
  if (::ftruncate(file.fd_.get(), static_cast<off_t>(bytes)) != 0)
    return machine_full("ftruncate of a memfd");
  if (::fcntl(file.fd_.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return machine_full("sealing a memfd");
  if (map && file.map() != Error::kNone)
    return machine_full(fmt::format("mmap of {} bytes", bytes));
  return file;
}

Result<MemoryFile, Failure> MemoryFile::create_at(const std::string& path, std::uint64_t bytes,
                                                  bool map) {
  MemoryFile file;
  file.bytes_ = bytes;
  file.fd_ =
      UniqueFd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.fd_) return invalid_file(path, std::strerror(errno));
  if (::ftruncate(file.fd_.get(), static_cast<off_t>(bytes)) != 0) {
    const Failure failure = machine_full("ftruncate of " + path);
    ::unlink(path.c_str());
    return failure;
  }
  if (map && file.map() != Error::kNone) {
    const Failure failure = machine_full("mmap of " + path);
    ::unlink(path.c_str());
    return failure;
  }
  return file;
}

Result<MemoryFile, Failure> MemoryFile::open(const std::string& path, std::uint64_t bytes,
                                             bool map) {
  MemoryFile file;
  file.bytes_ = bytes;
  file.fd_ = UniqueFd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  struct stat st;
  if (!file.fd_ || ::fstat(file.fd_.get(), &st) != 0)
    return invalid_file(path, std::strerror(errno));
  if (static_cast<std::uint64_t>(st.st_size) != bytes)
    return invalid_file(path, fmt::format("it has {} bytes instead of {}", st.st_size, bytes));
  if (map && file.map() != Error::kNone) return machine_full("mmap of " + path);
  return file;
}

MemoryFile MemoryFile::hold(int fd) {
  MemoryFile file;
  file.fd_ = UniqueFd(fd);
  return file;
}

Failure MemoryFile::map_whole(std::uint64_t bytes) {
  struct stat st;
  if (::fstat(fd_.get(), &st) != 0) return invalid_file("a descriptor", std::strerror(errno));
  if (static_cast<std::uint64_t>(st.st_size) != bytes)
    return invalid_file("a descriptor",
                        fmt::format("its file has {} bytes instead of {}", st.st_size, bytes));
  bytes_ = bytes;
  return map() == Error::kNone ? Failure{} : machine_full(fmt::format("mmap of {} bytes", bytes));
}

Error MemoryFile::commit(std::uint64_t offset, std::uint64_t length) const {
  int r;
  do {
    r = ::fallocate(fd_.get(), 0, static_cast<off_t>(offset), static_cast<off_t>(length));
  } while (r != 0 && errno == EINTR);
  return r == 0 ? Error::kNone : Error::kMachineFull;
}

Error MemoryFile::lock(std::uint64_t offset, std::uint64_t length) const {
  // Not ::mlock, which does nothing in a program with a sanitizer.
  return ::syscall(SYS_mlock, base_ + offset, length) == 0 ? Error::kNone : Error::kMachineFull;
}

bool MemoryFile::may_be_huge() const {
  ::madvise(base_, bytes_, MADV_HUGEPAGE);
  return ::madvise(base_, 0, MADV_COLLAPSE) == 0;  // of nothing: whether the kernel knows the word
}

bool MemoryFile::make_huge(std::uint64_t offset, std::uint64_t length) const {
  return ::madvise(base_ + offset, length, MADV_COLLAPSE) == 0;
}

void MemoryFile::give_back(std::uint64_t offset, std::uint64_t length) const {
  ::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
              static_cast<off_t>(length));
}

}  // namespace arenad
