// Mapping: an arena's data in this process's address space.
//
// Purpose: maps the data file that was handed over. The destructor unmaps it.
// Invariants: the mapping begins at a multiple of 2 MiB. So what the daemon has committed in huge
//   pages is mapped as huge pages here, too. MADV_DONTFORK, so that a child cannot write what its
//   parent holds. The daemon commits memory before it hands a block out, so touching a block that
//   you hold never raises SIGBUS.
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

  // Maps `bytes` bytes of the file `fd`. The caller may close `fd` afterwards. Errors: INTERNAL
  // (the file is shorter than the daemon said), RESOURCE_EXHAUSTED (the kernel refused).
  static Answer<Mapping> map(int fd, std::uint64_t bytes, bool writable);

  bool writable() const { return writable_; }
  std::span<std::byte> bytes() const { return {base_, size_}; }

 private:
  std::byte* base_ = nullptr;
  std::size_t size_ = 0;
  bool writable_ = false;
};

}  // namespace arenad::client
