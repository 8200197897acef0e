// FrameCounter: counts what an HTTP/2 client asks for, from the bytes that it sends.
//
// Purpose: walks from frame header to frame header. It reads no more of a frame than its header.
// Invariants: a client that sends something other than HTTP/2 makes wrong counts and nothing else.
// Threads: one at a time. Crash: nothing is shared.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace arenad::server {

class FrameCounter {
 public:
  // The next bytes of the connection. Returns the calls that begin in them.
  std::uint32_t read(std::span<const std::byte> bytes);
  // Whether the client has acknowledged the server's settings.
  bool has_agreed() const { return has_agreed_; }
  // Calls that the client has begun until now.
  std::uint64_t calls() const { return calls_; }

 private:
  static constexpr std::size_t kPrefaceBytes = 24;
  static constexpr std::size_t kHeaderBytes = 9;
  std::uint32_t begin_frame();

  std::size_t skip_ = kPrefaceBytes;  // bytes until the next frame header
  std::array<std::byte, kHeaderBytes> header_{};
  std::size_t have_ = 0;  // of header_
  bool has_agreed_ = false;
  std::uint64_t calls_ = 0;
};

}  // namespace arenad::server
