#include "client/lib/mapping.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "allocator/format/memory_file.h"

namespace arenad::client {

Mapping::Mapping(Mapping&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      writable_(other.writable_) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(base_, other.base_);
  std::swap(size_, other.size_);
  std::swap(writable_, other.writable_);
  return *this;
}

Mapping::~Mapping() {
  if (base_ != nullptr) ::munmap(base_, size_);
}

Answer<Mapping> Mapping::map(int fd, std::uint64_t bytes, bool writable) {
  struct stat file {};
  if (::fstat(fd, &file) != 0 || static_cast<std::uint64_t>(file.st_size) < bytes || bytes == 0)
    return Status{Code::kInternal, Error::kInternal,
                  "the data file that was handed over has " + std::to_string(file.st_size) +
                      " bytes and should have " + std::to_string(bytes) +
                      "; report this as a bug of arenad"};
  std::byte* const base = map_file(fd, bytes, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED);
  if (base == nullptr)
    return Status{Code::kResourceExhausted, Error::kNone,
                  "mapping " + std::to_string(bytes) +
                      " bytes of arena data failed: " + std::generic_category().message(errno) +
                      "; check the limit of address space (ulimit -v) and vm.max_map_count"};
  Mapping mapping;
  mapping.base_ = base;
  mapping.size_ = bytes;
  mapping.writable_ = writable;
  if (::madvise(base, bytes, MADV_DONTFORK) != 0)
    return Status{
        Code::kInternal, Error::kNone,
        "madvise(MADV_DONTFORK) of arena data failed: " + std::generic_category().message(errno)};
  return mapping;
}

}  // namespace arenad::client
