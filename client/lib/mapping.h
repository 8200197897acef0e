// Mapping: an arena's data in this process's address space.
//
// Purpose: mmap of the data file as it was handed over, unmapped by its destructor.
// Invariants: MADV_DONTFORK, so that a child that runs on by accident cannot write what its parent
// holds. Committed blocks are
//   backed by memory, so touching a block that one holds never raises SIGBUS.
// Threads: immutable after map(). Crash: the kernel unmaps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "arenad/status.h"

namespace arenad::client {

class Mapping {
 public:
  Mapping() = default;  // nothing mapped
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  // Maps all `bytes` of the file `fd`, which may be closed afterwards. Errors: INTERNAL (the file
  // is shorter than the daemon said), RESOURCE_EXHAUSTED (the kernel refused).
  static Answer<Mapping> map(int fd, std::uint64_t bytes, bool writable);

  bool writable() const { return writable_; }
  std::span<std::byte> bytes() const { return {base_, size_}; }

 private:
  std::byte* base_ = nullptr;
  std::size_t size_ = 0;
  bool writable_ = false;
};

}  // namespace arenad::client
