#include "allocator/memory_file.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace arenad {
namespace {

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

Failure system_failure(const std::string& what) {
  return {Error::kMachineFull, what + ": " + std::strerror(errno) + "; " + error_advice(Error::kMachineFull)};
}

int open_memfd(const std::string& name) {
  const int fd = ::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
  if (fd >= 0 || errno != EINVAL) return fd;
  return ::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING);  // before Linux 6.3
}

}  // namespace

MemoryFile::~MemoryFile() {
  if (base_ != nullptr) ::munmap(base_, bytes_);
  if (fd_ >= 0) ::close(fd_);
}

Result<MemoryFile, Failure> MemoryFile::create(const std::string& name, std::uint64_t bytes, bool map) {
  MemoryFile file;
  file.bytes_ = bytes;
  file.fd_ = open_memfd(name);
  if (file.fd_ < 0) return system_failure("memfd_create");
  if (::fchmod(file.fd_, 0600) != 0) return system_failure("fchmod of a memfd");
  if (::ftruncate(file.fd_, static_cast<off_t>(bytes)) != 0) return system_failure("ftruncate of a memfd");
  if (::fcntl(file.fd_, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) return system_failure("sealing a memfd");
  if (map) {
    void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file.fd_, 0);
    if (p == MAP_FAILED) return system_failure("mmap of " + std::to_string(bytes) + " bytes");
    file.base_ = static_cast<std::byte*>(p);
    ::madvise(p, bytes, MADV_DONTFORK);
  }
  return file;
}

Error MemoryFile::commit(std::uint64_t offset, std::uint64_t length) const {
  int r;
  do {
    r = ::fallocate(fd_, 0, static_cast<off_t>(offset), static_cast<off_t>(length));
  } while (r != 0 && errno == EINTR);
  return r == 0 ? Error::kNone : Error::kMachineFull;
}

void MemoryFile::give_back(std::uint64_t offset, std::uint64_t length) const {
  ::fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset), static_cast<off_t>(length));
}

}  // namespace arenad
