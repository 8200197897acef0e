// Plain values that calls of the client library take and return.
//
// Purpose: the messages of arenad.v1 as C++ values without protobuf.
// Invariants: names carry their units. A field that is 0 or empty means the default that is written
//   beside it.
// Threads: plain values. Crash: nothing is shared.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "arenad/allocator/base/export.h"
#include "arenad/allocator/format/block_word.h"
#include "arenad/allocator/format/debug_flags.h"
#include "arenad/allocator/format/ids.h"
#include "arenad/status.h"

namespace arenad::client {

// Ids and refs are the allocator's. Their `value` is the number that tools print.
using arenad::ArenaId;
using arenad::BlockEvent;
using arenad::BlockTrack;
using arenad::ClassId;
using arenad::HeapId;
using arenad::kSpanClass;
using arenad::Ref;
using arenad::SessionId;
using arenad::ShardId;

inline constexpr ShardId kAnyShard{UINT16_MAX};
// The daemon's limit for one request.
inline constexpr std::uint32_t kMaxBlocksPerCall = 16384;
inline constexpr std::uint32_t kMaxTag = arenad::Holder::kMaxTag;  // 16,777,215: a tag has 24 bits

enum class AttachMode : std::uint8_t {
  kRemote = 1,  // maps nothing
  kReader = 2,  // maps the data read-only; allocates and frees nothing
  kWriter = 3,  // maps the data read-write; allocates and frees through the daemon
  kPeer = 4,    // maps data and control read-write; allocates and frees in this process
};

// How a session stands with its daemon.
enum class SessionStanding : std::uint8_t {
  kConnected = 0,
  kReconnecting = 1,  // the KeepAlive stream broke; the library tries again by itself
  kLost = 2,          // the daemon does not know the session any more: calls answer UNKNOWN_SESSION
  kClosed = 3,
  kEvicted = 4,  // an administrator has ended the session: calls answer EVICTED
};
ARENAD_API const char* standing_name(SessionStanding standing);  // "reconnecting"

// Owner, group and mode of an arena, with the meaning that they have for files.
struct Access {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t mode = 0660;  // r: attach as reader; w: attach as writer, peer or remote
};

struct ArenaOptions {
  std::uint64_t capacity_bytes = 0;  // rounded up to a multiple of 2 MiB
  bool holder_only = false;          // only the holder may free a block
  // All memory is committed at once and never given back: a block's pages stay the same as long as
  // the arena lives. For io_uring buffers, RDMA and cudaHostRegister. Creating the arena takes some
  // 0.5 s for each GiB, so large ones need a larger ConnectOptions::call_timeout_ms.
  bool pinned = false;
  bool lock = false;   // pinned only: arenad locks the memory (mlock); for administrators
  bool zero = false;   // every block that is handed out reads as zeros
  bool scrub = false;  // bytes of a freed block, and of an ended session, are overwritten
  // Memory in huge pages of 2 MiB where the kernel makes some. ArenaInfo says what came of it.
  bool huge_pages = false;
  // On which NUMA nodes memory lies: empty, "interleave", or the number of a node.
  std::string numa;
  // Which mistakes the arena looks for, some of the letters FZPU: checks, redzones, poison, user
  // tracking. client/README.md, "Debug flags", says what each finds. P not with zero or scrub.
  std::string debug;
  bool set_access = false;  // false: the caller's user and group, mode 0660
  Access access;
};

struct ArenaInfo {
  ArenaId id;
  std::string name;
  std::uint64_t capacity_bytes = 0;
  bool holder_only = false;
  bool pinned = false;
  bool zero = false;
  bool scrub = false;
  bool huge_pages = false;            // asked for
  std::uint64_t huge_page_bytes = 0;  // of committed_bytes, what was committed in huge pages
  std::string huge_page_fallback;     // why some of it is in small pages; else empty
  std::string numa;                   // asked for
  std::string numa_fallback;          // why that has no effect; else empty
  std::string debug;                  // letters, in the order FZPU
  std::uint64_t debug_findings = 0;   // what they have found since the arena was created
  bool locked = false;                // arenad has the memory locked now
  Access access;
  std::uint64_t committed_bytes = 0;  // memory that the arena has taken from the system
  std::uint64_t held_bytes = 0;       // sum of the strides of held blocks
  std::uint64_t held_blocks = 0;
  std::uint32_t sessions = 0;  // attached sessions
  bool quarantined = false;
  std::string quarantine_reason;
};

struct AllocateOptions {
  // 0: natural (16; 8 for blocks of 8 bytes). Else a power of two up to 4096.
  std::uint32_t align_bytes = 0;
  std::uint32_t tag = 0;      // your label, at most kMaxTag; Admin::holders shows it
  std::uint32_t wait_ms = 0;  // how long to wait when the arena is full; 0: fail at once
};

struct DetachOptions {
  // Give back the blocks that the session holds or shares in the arena. Else a session with blocks
  // stays attached, and detach answers BLOCKS_HELD.
  bool give_up_blocks = false;
};

// A block that the caller is to free. A Block is the same with an owner.
struct AllocatedBlock {
  Ref ref;
  std::uint64_t offset_bytes = 0;  // where the payload starts in the arena's data
  std::uint64_t usable_bytes = 0;  // at least as many as were asked for
};

// What was wrong with one ref of a batch. It did not affect the other refs.
struct RefError {
  std::uint32_t index = 0;  // in the batch
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
  kStale = 5,    // the ref's generation is over
  kInvalid = 6,  // the ref names no block of the arena
};
ARENAD_API const char* block_state_name(BlockState state);  // "held"

struct BlockInfo {
  Ref ref;
  BlockState state = BlockState::kUnknown;
  std::uint64_t offset_bytes = 0;
  std::uint64_t usable_bytes = 0;
  std::uint64_t stride_bytes = 0;
  SessionId holder;  // 0 when the block is free
  std::uint32_t tag = 0;
  HeapId heap;  // the heap that owns the block: below 256 a shard's, else a peer's
  std::uint32_t generation = 0;
  ClassId size_class;               // kSpanClass for a span
  std::optional<BlockTrack> track;  // in arenas with debug flag U
};

// What a session held when it was closed, or when it detached.
struct GivenBack {
  std::uint64_t blocks = 0;
  std::uint64_t bytes = 0;  // sum of strides
};

struct Shard {
  ShardId index;
  std::string address;          // gRPC target, as this process reaches it
  std::int32_t cpu = -1;        // -1: the shard is not pinned
  std::int32_t numa_node = -1;  // of the cpu; -1: not known
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
