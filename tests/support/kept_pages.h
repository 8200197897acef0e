// What keeps pages of a mapping by itself, as io_uring buffers, RDMA and cudaHostRegister do.
//
// Purpose: tests of pinned arenas. Such a page stays the same although the file gets another page
//   at its place. Then the keeper and the mapping no longer show the same bytes.
// Threads: one. Crash: a test's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace arenad::test {

inline constexpr std::size_t kKeptBytes = 4096;  // of one page

// A page in a pipe (vmsplice). Works wherever pipes do.
class SplicedPage {
 public:
  // `page`: where a page of a mapping begins.
  explicit SplicedPage(const std::byte* page);
  ~SplicedPage();
  SplicedPage(const SplicedPage&) = delete;
  SplicedPage& operator=(const SplicedPage&) = delete;

  // Whether the page was kept.
  bool kept() const { return kept_; }
  // The page's bytes as they are now. Once.
  std::string read();

 private:
  int ends_[2] = {-1, -1};
  bool kept_ = false;
};

// A page that is registered with io_uring as a fixed buffer.
class FixedBuffer {
 public:
  explicit FixedBuffer(std::byte* page);
  ~FixedBuffer();
  FixedBuffer(const FixedBuffer&) = delete;
  FixedBuffer& operator=(const FixedBuffer&) = delete;

  // Why there is no buffer: the system's words, when the kernel or a seccomp filter refuses
  // io_uring. Empty when there is one.
  const std::string& refusal() const { return refusal_; }
  // Has the kernel read kKeptBytes of a file into the buffer. False when it did not.
  bool read_file(int fd);

 private:
  struct Ring;
  std::unique_ptr<Ring> ring_;
  std::string refusal_;
};

}  // namespace arenad::test
