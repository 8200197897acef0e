// Plain values that calls of the client library take and give.
//
// Purpose: what arenad.v1 says on the wire, as C++ values without protobuf.
// Invariants: bytes are bytes and times are what their names say; a 0 or empty field means the
// default written beside it. Threads: pure values. Crash: nothing is shared.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "allocator/format/ids.h"
#include "arenad/status.h"

namespace arenad::client {

using arenad::Ref;

inline constexpr std::uint32_t kAnyShard = UINT32_MAX;
inline constexpr std::uint32_t kMaxBlocksPerCall = 16384;  // the daemon's limit for one request

enum class AttachMode : std::uint8_t {
  kRemote = 1,  // maps nothing
  kReader = 2,  // maps the data read-only; allocates and frees nothing
  kWriter = 3,  // maps the data read-write
  kPeer =
      4,  // maps data and control read-write; allocates and frees in this process, without a call
};

// How a session stands with its daemon.
enum class SessionStanding : std::uint8_t {
  kConnected = 0,
  kReconnecting = 1,  // the KeepAlive stream broke; the library tries again by itself
  kLost = 2,          // the daemon does not know the session any more: calls answer UNKNOWN_SESSION
  kClosed = 3,
};
const char* standing_name(SessionStanding standing);  // "reconnecting"

struct Access {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t mode = 0666;  // as of a file: r = reader, w = writer
};

struct ArenaOptions {
  std::uint64_t capacity_bytes = 0;  // rounded up to a multiple of 2 MiB
  bool holder_only = false;          // only the holder may free a block; others acquire it first
  bool canary = false;  // 16 bytes in front of each block and 8 behind it, checked when it is freed
  bool set_access = false;  // false: the daemon's user and group, mode 0666
  Access access;
};

struct ArenaInfo {
  std::uint32_t id = 0;
  std::string name;
  std::uint64_t capacity_bytes = 0;
  bool holder_only = false;
  bool canary = false;
  Access access;
  std::uint64_t committed_bytes = 0;  // taken from the system so far
  std::uint64_t held_bytes = 0;       // sum of the strides of held blocks
  std::uint64_t held_blocks = 0;
  std::uint32_t sessions = 0;  // attached ones
  bool quarantined = false;
  std::string quarantine_reason;
};

struct AllocateOptions {
  std::uint32_t align_bytes =
      0;  // 0 = natural (16, or 8 for blocks of 8 bytes); else a power of two up to 4096
  std::uint32_t tag = 0;  // your label, shown by Admin::holders
  std::uint32_t wait_ms =
      0;  // when the arena is full: wait up to this long for memory; 0 = fail at once
};

// A block that somebody (not this struct) is to free. Block is the same with an owner.
struct AllocatedBlock {
  Ref ref;
  std::uint64_t offset_bytes = 0;  // of the payload, in the arena's data
  std::uint64_t usable_bytes = 0;  // at least what was asked for
};

// What was wrong with one ref of a batch; the others were not affected.
struct RefError {
  std::uint32_t index = 0;  // in the batch that was given
  Ref ref;
  Status status;
};

struct BatchAnswer {
  std::uint64_t done = 0;        // refs that were freed, taken over, shared or released
  std::vector<RefError> errors;  // in order of index
  bool all() const { return errors.empty(); }
};

enum class BlockState : std::uint8_t {
  kUnknown = 0,
  kFree = 1,
  kHeld = 2,
  kReturning = 3,
  kShared = 4,
  kStale = 5,
  kInvalid = 6
};
const char* block_state_name(BlockState state);  // "held"

struct BlockInfo {
  Ref ref;
  BlockState state = BlockState::kUnknown;
  std::uint64_t offset_bytes = 0;
  std::uint64_t usable_bytes = 0;
  std::uint64_t stride_bytes = 0;
  std::uint32_t holder = 0;  // session id; 0 when free
  std::uint32_t tag = 0;
  std::uint32_t heap = 0;  // whose block it is: below 256 the shard, else a peer's heap
  std::uint32_t generation = 0;
  std::uint32_t size_class = 0;  // 255 for a span
};

struct GivenBack {
  std::uint64_t blocks = 0;
  std::uint64_t bytes = 0;  // sum of strides
};

struct Shard {
  std::uint32_t index = 0;
  std::string address;  // gRPC target, as this process reaches it
  std::int32_t cpu = -1;
};

struct Topology {
  std::string version;
  std::string common_address;
  std::string handoff_path;
  std::vector<Shard> shards;
  std::string build_type;
  bool p0_batch_refill_built = false;
  std::uint64_t uptime_ms = 0;
};

}  // namespace arenad::client
