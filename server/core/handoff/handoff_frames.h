// The two frames of the handoff socket, little endian, as they travel.
//
//   client -> daemon   HandoffRequest, 32 bytes
//   daemon -> client   HandoffReply, 64 bytes, then message_bytes of UTF-8 text; descriptors ride
//   (SCM_RIGHTS) on the
//                      reply's first byte: none, or the data file (reader: O_RDONLY, writer:
//                      O_RDWR), or for a peer the data file and the control file (both O_RDWR)
//
// Invariants: these are the format; kHandoffVersion grows when one changes.
// Threads: values. Crash: nothing is shared.
#pragma once

#include <bit>
#include <cstdint>

namespace arenad::server {

static_assert(std::endian::native == std::endian::little,
              "the frames are written as they lie in memory");

inline constexpr char kHandoffMagic[8] = {'A', 'R', 'N', 'D', 'H', 'N', 'D', '1'};
inline constexpr std::uint32_t kHandoffVersion = 1;

struct HandoffRequest {
  char magic[8];
  std::uint8_t token[16];
  std::uint32_t version;
  std::uint32_t reserved;  // 0
};
static_assert(sizeof(HandoffRequest) == 32);

struct HandoffReply {
  char magic[8];
  std::uint32_t status;  // 0, or a canonical gRPC code
  std::uint32_t reason;  // arenad.v1.Reason
  std::uint32_t fd_count;
  std::uint32_t mode;           // arenad.v1.AttachMode; 0 when the token only bound the session
  std::uint64_t data_bytes;     // size of the data file
  std::uint64_t control_bytes;  // size of the control file when it is sent, else 0
  std::uint32_t arena_id;
  std::uint32_t message_bytes;
  std::uint8_t reserved[16];
};
static_assert(sizeof(HandoffReply) == 64);

}  // namespace arenad::server
