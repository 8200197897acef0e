// The two frames of the handoff socket, as they travel.
//
// Purpose: one definition for the daemon, the client library and the tests. README.md beside this
// file describes every field, the descriptors and the errors. Clients in other languages follow it.
// Invariants: integers are little endian and frames have no padding, so a frame is sent as it lies
// in memory. When a field changes, kVersion grows.
// Threads: plain values. Crash: nothing is shared.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace arenad::handoff {

static_assert(std::endian::native == std::endian::little,
              "frames are sent as they lie in memory, and the format is little endian");

inline constexpr std::array<char, 8> kMagic{'A', 'R', 'N', 'D', 'H', 'N', 'D', '1'};
inline constexpr std::uint32_t kVersion = 1;
inline constexpr std::size_t kTokenBytes = 16;
inline constexpr std::size_t kMostDescriptors = 2;           // data file, control file
inline constexpr std::size_t kMostMessageBytes = 64 * 1024;  // text behind a reply

// Client to daemon.
struct Request {
  std::array<char, 8> magic = kMagic;
  std::array<std::uint8_t, kTokenBytes> token{};
  std::uint32_t version = kVersion;
  std::uint32_t reserved = 0;
};
static_assert(sizeof(Request) == 32);

// Daemon to client. message_bytes of UTF-8 text follow.
struct Reply {
  std::array<char, 8> magic = kMagic;
  std::uint32_t status = 0;  // canonical gRPC code, 0 is OK
  std::uint32_t reason = 0;  // arenad.v1.Reason
  std::uint32_t fd_count = 0;
  std::uint32_t mode = 0;           // arenad.v1.AttachMode
  std::uint64_t data_bytes = 0;     // size of the data file
  std::uint64_t control_bytes = 0;  // size of the control file
  std::uint32_t arena_id = 0;
  std::uint32_t message_bytes = 0;
  std::array<std::uint8_t, 16> reserved{};
};
static_assert(sizeof(Reply) == 64);

}  // namespace arenad::handoff
