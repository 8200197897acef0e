// The engine's interface: what the gRPC layer (server/rpc) may ask of the gRPC-free core
// (server/core).
//
// Purpose: plain types, ShardApi (the data plane: one per shard, called on the shard's own thread)
// and ControlApi (the
//   control plane: arenas, sessions, handoff; any thread may call it, answers come back through a
//   callback).
// Invariants: no gRPC and no protobuf type passes here, so core builds and runs under TSan and ASan
// by itself. Threads: said at each class. No call blocks. Crash: see shard.h and control.h.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "allocator/arena/arena.h"
#include "allocator/base/error.h"
#include "allocator/check/verify.h"
#include "allocator/heap/class_usage.h"
#include "allocator/heap/counters.h"
#include "allocator/heap/heap.h"

namespace arenad::server {

inline constexpr std::uint32_t kMaxBlocksPerCall = 16384;
inline constexpr std::uint32_t kMaxSlabsPerLease = 1024;
inline constexpr std::uint32_t kMaxSlabsPerReturn = 16384;
inline constexpr std::uint32_t kMaxSlabsPerResume = 1048576;

struct SessionKey {
  std::uint16_t id = 0;
  std::uint64_t secret = 0;
  friend bool operator==(const SessionKey&, const SessionKey&) = default;
};

enum class AttachMode : std::uint8_t {
  kNone = 0,
  kRemote = 1,
  kReader = 2,
  kWriter = 3,
  kPeer = 4
};
inline const char* mode_name(AttachMode mode) {
  constexpr const char* kNames[] = {"none", "remote", "reader", "writer", "peer"};
  return kNames[static_cast<std::size_t>(mode)];
}

template <class T>
using Answer = Result<T, Failure>;
template <class T>
using Done = std::function<void(Answer<T>)>;
struct Nothing {};

// ---- data plane
// --------------------------------------------------------------------------------------------------------

struct AllocateArgs {
  SessionKey session;
  std::uint32_t arena_id = 0;
  std::uint64_t size_bytes = 0;  // with count, when sizes is empty
  std::uint32_t count = 1;       // 0 is refused: the caller fills in defaults
  std::vector<std::uint64_t>
      sizes;  // or one block each; then size_bytes is 0 and count is not looked at
  std::uint32_t align_bytes = 0;
  std::uint32_t tag = 0;
  std::uint32_t wait_ms = 0;
};

struct AllocatedBlocks {
  std::vector<Allocation> blocks;           // ref and payload offset, in order
  std::vector<std::uint64_t> usable_bytes;  // one when all are alike, else one a block
};

struct RefFailure {
  std::uint32_t index = 0;
  std::uint64_t ref = 0;
  Error error = Error::kNone;
  std::string message;
};

struct PerRefAnswer {
  std::uint32_t done = 0;
  std::vector<RefFailure> errors;
};

// What a peer leases: slabs of one class, or one span.
struct LeaseArgs {
  SessionKey session;
  std::uint32_t arena_id = 0;
  std::uint32_t heap_id = 0;     // one of the session's own
  std::uint32_t size_class = 0;  // kSpanClass: a span
  std::uint32_t count = 1;       // 0 is refused: the caller fills in defaults
  std::uint32_t span_units = 0;
  std::uint32_t wait_ms = 0;
};

// Slabs are named by their first 64 KiB unit.
struct LeasedSlabs {
  std::vector<std::uint32_t> slabs;
};

struct ReturnedSlabs {
  std::uint32_t returned = 0;
  std::vector<std::uint32_t> refused;  // not leased to the session
};

struct ResumedLeases {
  std::uint32_t taken_back = 0;        // leases that the session does not know of
  std::vector<std::uint32_t> unknown;  // named slabs that are not leased to it
};

// One shard's data plane. Every call on the shard's own thread.
class ShardApi {
 public:
  virtual ~ShardApi() = default;
  virtual std::uint32_t index() const = 0;
  // `done` runs inside the call in the ordinary case; when memory is short it runs later on this
  // thread, after other shards were asked to trim, or when wait_ms is over. It runs exactly once.
  virtual void allocate(const AllocateArgs& args, Done<AllocatedBlocks> done) = 0;
  virtual Answer<PerRefAnswer> free(SessionKey session, std::uint32_t arena_id,
                                    std::span<const std::uint64_t> refs) = 0;
  virtual Answer<PerRefAnswer> acquire(SessionKey session, std::uint32_t arena_id,
                                       std::span<const std::uint64_t> refs, std::uint32_t tag) = 0;
  virtual Answer<PerRefAnswer> share(SessionKey session, std::uint32_t arena_id,
                                     std::span<const std::uint64_t> refs) = 0;
  virtual Answer<PerRefAnswer> release(SessionKey session, std::uint32_t arena_id,
                                       std::span<const std::uint64_t> refs) = 0;
  virtual Answer<std::vector<BlockFacts>> describe(SessionKey session, std::uint32_t arena_id,
                                                   std::span<const std::uint64_t> refs) = 0;
  // --- peers ---
  // A heap id of the session's own.
  virtual Answer<std::uint16_t> open_heap(SessionKey session, std::uint32_t arena_id) = 0;
  // As allocate: `done` runs inside the call or, when memory is short, later. At least one slab, or
  // an error.
  virtual void lease_slabs(const LeaseArgs& args, Done<LeasedSlabs> done) = 0;
  virtual Answer<ReturnedSlabs> return_slabs(SessionKey session, std::uint32_t arena_id,
                                             std::span<const std::uint32_t> slabs) = 0;
  // Takes back the session's leases and heap ids that it does not name. None of its leases may be
  // under way meanwhile.
  virtual Answer<ResumedLeases> resume(SessionKey session, std::uint32_t arena_id,
                                       std::span<const std::uint32_t> slabs,
                                       std::span<const std::uint32_t> heaps) = 0;
  // Runs `f` on this shard's thread, soon. Any thread.
  virtual void post(std::function<void()> f) = 0;
  // --- for the loop that drives the shard (its own thread) ---
  virtual void run_inbox() = 0;  // after a wake-up
  virtual void end_turn() = 0;   // after each batch of events: publishes gathered remote frees
  // Timers: idle drain, waits. Call it after every wake-up and when the time it returned (monotonic
  // ns, see clock.h) has come; before then it is one comparison. A call that makes the time earlier
  // wakes the loop itself.
  virtual std::uint64_t tick(std::uint64_t now_ns) = 0;
  virtual void count_call() = 0;
  virtual void count_turn() = 0;
};

// How other threads wake a shard's loop out of its wait. wake() may be called by any thread and
// must be cheap; calls may be merged. The gRPC loop implements it with grpc::Alarm, tests with an
// eventfd.
class Waker {
 public:
  virtual ~Waker() = default;
  virtual void wake() = 0;
};

// ---- control plane
// -----------------------------------------------------------------------------------------------------

struct ArenaAccess {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t mode = 0666;
};

struct CreateArenaArgs {
  std::string name;
  std::uint64_t capacity_bytes = 0;
  bool holder_only = false;
  bool canary = false;
  bool has_access = false;
  ArenaAccess access;
};

struct ArenaFacts {
  std::uint32_t id = 0;
  std::string name;
  std::uint64_t capacity_bytes = 0;
  bool holder_only = false;
  bool canary = false;
  ArenaAccess access;
  std::uint64_t committed_bytes = 0;
  std::uint64_t held_bytes = 0;
  std::uint64_t held_blocks = 0;
  std::uint32_t sessions = 0;
  bool quarantined = false;
  std::string quarantine_reason;
};

template <class T>
struct Page {
  std::vector<T> items;
  std::string next_page_token;
};

struct OpenedSession {
  SessionKey key;
  std::string handoff_token;  // 16 bytes
  std::string handoff_path;
  std::uint32_t keepalive_grace_ms = 0;
};

struct AttachedArena {
  ArenaFacts arena;
  std::string handoff_token;           // 16 bytes, empty for remote
  const Geometry* geometry = nullptr;  // valid inside the callback
};

// What the daemon wants a session to know or to do, on its KeepAlive stream.
struct SessionEvent {
  enum class Kind : std::uint8_t { kDraining, kEnded, kTrim };
  Kind kind = Kind::kDraining;
  std::uint64_t round = 0;     // of kTrim: comes back in keepalive_trimmed
  std::uint16_t arena_id = 0;  // of kTrim
};
using OnSessionEvent = std::function<void(const SessionEvent&)>;

struct GivenBack {
  std::uint64_t blocks = 0;
  std::uint64_t bytes = 0;
};

struct AttachmentFacts {
  std::string arena;
  AttachMode mode = AttachMode::kNone;
  std::uint64_t held_blocks = 0;
  std::uint64_t held_bytes = 0;
  std::uint64_t leased_bytes = 0;
};

struct SessionFacts {
  std::uint16_t id = 0;
  std::string name;
  std::int32_t pid = 0;
  std::uint32_t uid = 0;
  bool bound = false;
  bool keepalive = false;
  bool reaping = false;
  std::uint64_t age_ms = 0;
  std::uint64_t limit_bytes = 0;  // 0: none
  std::vector<AttachmentFacts> attachments;
};

struct ShardFacts {
  std::uint32_t shard = 0;
  HeapCounters heap;
  std::uint64_t calls = 0;
  std::vector<std::uint64_t> remote_frees_to;  // by owning shard
  std::uint64_t loop_turns = 0;
  std::uint64_t inbox_messages = 0;
  std::uint64_t idle_drains = 0;
};

struct DaemonStats {
  std::vector<ShardFacts> shards;
  std::uint64_t arenas = 0;
  std::uint64_t sessions = 0;
  std::uint64_t sessions_reaped = 0;
  std::uint64_t committed_bytes = 0;
  std::uint64_t capacity_bytes = 0;
  std::uint64_t held_blocks = 0;
  std::uint64_t held_bytes = 0;
  std::uint64_t leased_slabs = 0;  // to peers; runs
  std::uint64_t leased_bytes = 0;
  std::uint64_t uptime_ms = 0;
};

struct SlabInfoRow {
  std::string arena;
  bool peers = false;  // leased to peers, whose heaps are their own; shard is 0 then
  std::uint32_t shard = 0;
  ClassUsage usage;
  std::uint64_t usable_bytes = 0;
  std::uint64_t stride_bytes = 0;
  std::uint64_t blocks_per_slab = 0;
  std::uint64_t slab_bytes = 0;
};

struct HolderRow {
  std::uint16_t session = 0;
  std::string session_name;
  std::uint32_t tag = 0;
  std::uint64_t blocks = 0;
  std::uint64_t bytes = 0;
};

struct Holders {
  std::vector<HolderRow> rows;  // largest first, at most `limit`
  std::uint64_t total_blocks = 0;
  std::uint64_t total_bytes = 0;
};

struct AuditedArena {
  std::string arena;
  VerifyReport report;
  std::uint64_t scan_us = 0;
};

struct AuditResult {
  std::vector<AuditedArena> arenas;
  std::uint64_t p0_counter_ok = 0;
  std::uint64_t p0_counter_mismatch = 0;
  bool exact = true;
};

struct TunableFacts {
  std::string name, value, default_value, description;
};

// The control plane. Calls from any thread; `done` runs exactly once, on the control (edge) thread:
// post() it back to where it belongs. Names and refs are validated inside.
class ControlApi {
 public:
  virtual ~ControlApi() = default;
  virtual void create_arena(CreateArenaArgs args, Done<ArenaFacts> done) = 0;
  virtual void get_arena(std::string name, Done<ArenaFacts> done) = 0;
  virtual void list_arenas(std::uint32_t page_size, std::string page_token,
                           Done<Page<ArenaFacts>> done) = 0;
  virtual void delete_arena(std::string name, bool force, Done<Nothing> done) = 0;

  // limit_bytes: most that the session may hold or lease; 0 or more than the daemon's limit: that.
  virtual void open_session(std::string name, std::uint64_t limit_bytes,
                            Done<OpenedSession> done) = 0;
  virtual void attach_arena(SessionKey key, std::string arena, AttachMode mode,
                            Done<AttachedArena> done) = 0;
  virtual void close_session(SessionKey key, Done<GivenBack> done) = 0;
  virtual void list_sessions(std::uint32_t page_size, std::string page_token,
                             Done<Page<SessionFacts>> done) = 0;
  // A KeepAlive stream came (done: whether the session lives) and went. `on_event` is called on the
  // control thread; the stream's owner must unregister with keepalive_lost.
  virtual void keepalive_opened(SessionKey key, std::uint64_t stream_id, OnSessionEvent on_event,
                                Done<Nothing> done) = 0;
  virtual void keepalive_lost(SessionKey key, std::uint64_t stream_id) = 0;
  // A peer has returned what it can: its answer to SessionEvent::kTrim.
  virtual void keepalive_trimmed(SessionKey key, std::uint64_t round, std::uint32_t arena_id) = 0;

  virtual void get_stats(std::string arena, Done<DaemonStats> done) = 0;
  virtual void slab_info(std::string arena, Done<std::vector<SlabInfoRow>> done) = 0;
  virtual void list_holders(std::string arena, std::uint32_t limit, Done<Holders> done) = 0;
  virtual void audit(std::string arena, Done<AuditResult> done) = 0;
  virtual void get_tunables(Done<std::vector<TunableFacts>> done) = 0;
  virtual void set_tunables(std::vector<std::pair<std::string, std::string>> values,
                            Done<std::vector<TunableFacts>> done) = 0;
  virtual bool draining() const = 0;  // any thread
};

}  // namespace arenad::server
