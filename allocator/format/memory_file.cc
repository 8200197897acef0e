#include "allocator/format/memory_file.h"

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
  return {Error::kMachineFull,
          what + ": " + std::strerror(errno) + "; " + error_advice(Error::kMachineFull)};
}

Failure invalid_file(const std::string& path, const std::string& why) {
  return {Error::kInvalidOption, path + " is not usable: " + why};
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

Error MemoryFile::map() {
  void* p = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd_, 0);
  if (p == MAP_FAILED) return Error::kMachineFull;
  base_ = static_cast<std::byte*>(p);
  ::madvise(p, bytes_, MADV_DONTFORK);
  return Error::kNone;
}

Result<MemoryFile, Failure> MemoryFile::create(const std::string& name, std::uint64_t bytes,
                                               bool map) {
  MemoryFile file;
  file.bytes_ = bytes;
  file.fd_ = open_memfd(name);
  if (file.fd_ < 0) return system_failure("memfd_create");
  if (::fchmod(file.fd_, 0600) != 0) return system_failure("fchmod of a memfd");
  if (::ftruncate(file.fd_, static_cast<off_t>(bytes)) != 0)
    return system_failure("ftruncate of a memfd");
  if (::fcntl(file.fd_, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return system_failure("sealing a memfd");
  if (map && file.map() != Error::kNone)
    return system_failure("mmap of " + std::to_string(bytes) + " bytes");
  return file;
}

Result<MemoryFile, Failure> MemoryFile::create_at(const std::string& path, std::uint64_t bytes,
                                                  bool map) {
  MemoryFile file;
  file.bytes_ = bytes;
  file.fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file.fd_ < 0) return invalid_file(path, std::strerror(errno));
  if (::ftruncate(file.fd_, static_cast<off_t>(bytes)) != 0) {
    const Failure failure = system_failure("ftruncate of " + path);
    ::unlink(path.c_str());
    return failure;
  }
  if (map && file.map() != Error::kNone) {
    const Failure failure = system_failure("mmap of " + path);
    ::unlink(path.c_str());
    return failure;
  }
  return file;
}

Result<MemoryFile, Failure> MemoryFile::open(const std::string& path, std::uint64_t bytes,
                                             bool map) {
  MemoryFile file;
  file.bytes_ = bytes;
  file.fd_ = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  struct stat st;
  if (file.fd_ < 0 || ::fstat(file.fd_, &st) != 0) return invalid_file(path, std::strerror(errno));
  if (static_cast<std::uint64_t>(st.st_size) != bytes)
    return invalid_file(path, "it has " + std::to_string(st.st_size) + " bytes instead of " +
                                  std::to_string(bytes));
  if (map && file.map() != Error::kNone) return system_failure("mmap of " + path);
  return file;
}

MemoryFile MemoryFile::hold(int fd) {
  MemoryFile file;
  file.fd_ = fd;
  return file;
}

Failure MemoryFile::map_whole(std::uint64_t bytes) {
  struct stat st;
  if (::fstat(fd_, &st) != 0) return invalid_file("a descriptor", std::strerror(errno));
  if (static_cast<std::uint64_t>(st.st_size) != bytes)
    return invalid_file("a descriptor", "its file has " + std::to_string(st.st_size) +
                                            " bytes instead of " + std::to_string(bytes));
  bytes_ = bytes;
  return map() == Error::kNone ? Failure{}
                               : system_failure("mmap of " + std::to_string(bytes) + " bytes");
}

Error MemoryFile::commit(std::uint64_t offset, std::uint64_t length) const {
  int r;
  do {
    r = ::fallocate(fd_, 0, static_cast<off_t>(offset), static_cast<off_t>(length));
  } while (r != 0 && errno == EINTR);
  return r == 0 ? Error::kNone : Error::kMachineFull;
}

void MemoryFile::give_back(std::uint64_t offset, std::uint64_t length) const {
  ::fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
              static_cast<off_t>(length));
}

}  // namespace arenad
