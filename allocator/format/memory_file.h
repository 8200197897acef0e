// MemoryFile: a memfd or a file of a directory, and this process's mapping of it.
//
// Purpose: creates, sizes, seals (memfds: SHRINK, GROW, SEAL) and maps the file; commits ranges
// (fallocate) and gives them back (punches holes).
// Invariants: the size never changes. Mappings are MADV_DONTFORK, descriptors are CLOEXEC. A
// mapping of 2 MiB or more begins at a multiple of 2 MiB, so that the kernel can map huge pages.
// Threads: any thread may commit and give back. One thread creates and destroys.
// Crash: a memfd vanishes with its last descriptor and mapping. A file stays, with what was stored.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "../base/error.h"
#include "../base/export.h"
#include "../base/unique_fd.h"

namespace arenad {

inline constexpr std::uint64_t kHugePageBytes = 2 << 20;

// mmap of a file from its beginning, at an address as said above. Null with errno when it fails.
ARENAD_API std::byte* map_file(int fd, std::uint64_t bytes, int protection, int flags);

class ARENAD_API MemoryFile {
 public:
  MemoryFile() = default;
  MemoryFile(MemoryFile&& o) noexcept { swap(o); }
  MemoryFile& operator=(MemoryFile&& o) noexcept {
    swap(o);
    return *this;
  }
  ~MemoryFile();

  // A memfd of `bytes` (a multiple of the page size), mode 0600; mapped read-write when `map`.
  // Errors: kMachineFull with the system's words.
  static Result<MemoryFile, Failure> create(const std::string& name, std::uint64_t bytes, bool map);
  // The same as a new file; kInvalidOption when it exists or cannot be made there.
  static Result<MemoryFile, Failure> create_at(const std::string& path, std::uint64_t bytes,
                                               bool map);
  // A file that is there. Errors: kInvalidOption (not there, or not of that size), kMachineFull.
  static Result<MemoryFile, Failure> open(const std::string& path, std::uint64_t bytes, bool map);
  // A descriptor that somebody sent; taken over at once, mapped read-write by map_whole.
  static MemoryFile hold(int fd);
  // Errors: kInvalidOption (the file does not have that size), kMachineFull.
  Failure map_whole(std::uint64_t bytes);

  int fd() const { return fd_.get(); }
  std::byte* base() const { return base_; }
  std::uint64_t bytes() const { return bytes_; }

  // Backs the range with memory now, so that touching it later cannot fail. Errors: kMachineFull.
  Error commit(std::uint64_t offset, std::uint64_t length) const;
  // Locks the range of the mapping into memory, as long as this process maps it. Errors:
  // kMachineFull, with errno.
  Error lock(std::uint64_t offset, std::uint64_t length) const;
  // From here on the kernel should use huge pages for the mapping. False: it cannot make any.
  bool may_be_huge() const;
  // Makes a huge page of each 2 MiB of the range, of which some memory is there. Nothing that is
  // stored there changes. False with errno: one or more have none.
  bool make_huge(std::uint64_t offset, std::uint64_t length) const;
  // Gives the range's memory back; it reads as zeros afterwards.
  void give_back(std::uint64_t offset, std::uint64_t length) const;

 private:
  Error map();
  void swap(MemoryFile& o) noexcept {
    std::swap(fd_, o.fd_);
    std::swap(base_, o.base_);
    std::swap(bytes_, o.bytes_);
  }
  UniqueFd fd_;
  std::byte* base_ = nullptr;
  std::uint64_t bytes_ = 0;
};

}  // namespace arenad
