#include "server/rpc/connections/frame_counter.h"

#include <algorithm>

namespace arenad::server {
namespace {
// Types and flags of frames: RFC 9113, section 6.
constexpr std::byte kHeaders{1}, kSettings{4};
constexpr std::byte kAck{1};
}  // namespace

std::uint32_t FrameCounter::read(std::span<const std::byte> bytes) {
  std::uint32_t begun = 0;
  while (!bytes.empty()) {
    if (skip_ != 0) {
      const std::size_t n = std::min(skip_, bytes.size());
      skip_ -= n;
      bytes = bytes.subspan(n);
      continue;
    }
    const std::size_t n = std::min(kHeaderBytes - have_, bytes.size());
    std::copy_n(bytes.begin(), n, header_.begin() + have_);
    bytes = bytes.subspan(n);
    have_ += n;
    if (have_ == kHeaderBytes) begun += begin_frame();
  }
  return begun;
}

std::uint32_t FrameCounter::begin_frame() {
  have_ = 0;
  skip_ = std::to_integer<std::size_t>(header_[0]) << 16 |
          std::to_integer<std::size_t>(header_[1]) << 8 | std::to_integer<std::size_t>(header_[2]);
  const std::byte type = header_[3], flags = header_[4];
  if (type == kSettings && (flags & kAck) != std::byte{0}) has_agreed_ = true;
  if (type != kHeaders) return 0;
  ++calls_;
  return 1;
}

}  // namespace arenad::server
