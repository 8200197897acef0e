// ShardApi: the data plane, what one shard does for the clients that call it.
//
// Purpose: allocate, free and pass on blocks; lease slabs to peers. One ShardApi for each shard.
// Invariants: no gRPC and no protobuf type passes here. No call blocks.
// Threads: every call on the shard's own thread, except post.
// Crash: see server/core/shard/shard.h.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "allocator/arena/arena.h"
#include "allocator/heap/heap.h"
#include "server/core/api/common.h"

namespace arenad::server {

inline constexpr std::uint32_t kMaxBlocksPerCall = 16384;
inline constexpr std::uint32_t kMaxSlabsPerLease = 1024;
inline constexpr std::uint32_t kMaxSlabsPerReturn = 16384;
inline constexpr std::uint32_t kMaxSlabsPerResume = 1048576;

struct AllocateArgs {
  SessionKey session;
  ArenaId arena_id;
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
  UntrustedRef ref;
  Error error = Error::kNone;
  std::string message;
};

struct PerRefAnswer {
  std::uint32_t done = 0;
  std::vector<RefFailure> errors;
};

// Whose lease call it is.
struct LeaseCaller {
  SessionKey session;
  ArenaId arena_id;
  LeaseEpoch epoch;  // that the session is in, in this arena
};

// What a peer leases: slabs of one class, or one span.
struct LeaseArgs {
  SessionKey session;
  ArenaId arena_id;
  LeaseEpoch epoch;         // see LeaseCaller
  HeapId heap_id;           // one of the session's own
  ClassId size_class;       // kSpanClass: a span
  std::uint32_t count = 1;  // 0 is refused: the caller fills in defaults
  std::uint32_t span_units = 0;
  std::uint32_t wait_ms = 0;
};

// Slabs are named by their first 64 KiB unit.
struct LeasedSlabs {
  std::vector<SlabIndex> slabs;
};

struct ReturnedSlabs {
  std::uint32_t returned = 0;
  std::vector<SlabIndex> refused;  // not leased to the session
};

// What a session knows to be its own, in one part of the arena.
struct ResumeArgs {
  std::uint32_t first_unit = 0;  // 0: this part begins a new epoch, and names the heaps
  std::uint32_t end_unit = ~std::uint32_t{0};
  std::vector<SlabIndex> slabs;  // leased runs that begin in [first_unit, end_unit)
  std::vector<HeapId> heaps;     // all heap ids
};

struct ResumedLeases {
  std::uint32_t taken_back = 0;    // leases that the session does not know of
  std::vector<SlabIndex> unknown;  // named slabs that are not leased to it
};

// Which blocks a free may free. In a holder_only arena it is kOwn in any case.
enum class FreeScope : std::uint8_t {
  kAll,
  kOwn,  // of the session that frees; another's is refused with NOT_HOLDER
};

// One shard's data plane. Every call on the shard's own thread.
class ShardApi {
 public:
  virtual ~ShardApi() = default;
  virtual ShardId index() const = 0;
  // `done` runs inside the call in the ordinary case; when memory is short it runs later on this
  // thread, after other shards were asked to trim, or when wait_ms is over. It runs exactly once.
  virtual void allocate(const AllocateArgs& args, Done<AllocatedBlocks> done) = 0;
  virtual Answer<PerRefAnswer> free(SessionKey session, ArenaId arena_id, UntrustedRefs refs,
                                    FreeScope scope) = 0;
  virtual Answer<PerRefAnswer> acquire(SessionKey session, ArenaId arena_id, UntrustedRefs refs,
                                       std::uint32_t tag) = 0;
  virtual Answer<PerRefAnswer> share(SessionKey session, ArenaId arena_id, UntrustedRefs refs) = 0;
  virtual Answer<PerRefAnswer> release(SessionKey session, ArenaId arena_id,
                                       UntrustedRefs refs) = 0;
  virtual Answer<std::vector<BlockFacts>> describe(SessionKey session, ArenaId arena_id,
                                                   UntrustedRefs refs) = 0;
  // --- peers. A call of another epoch than the session's answers kStaleEpoch and does nothing.
  // A heap id of the session's own.
  virtual Answer<HeapId> open_heap(const LeaseCaller& caller) = 0;
  // As allocate: `done` runs inside the call or, when memory is short, later. At least one slab, or
  // an error.
  virtual void lease_slabs(const LeaseArgs& args, Done<LeasedSlabs> done) = 0;
  virtual Answer<ReturnedSlabs> return_slabs(const LeaseCaller& caller,
                                             std::span<const SlabIndex> slabs) = 0;
  // Takes back the session's leases in this part of the arena that it does not name, and with the
  // first part its heap ids. The first part raises the session's epoch to the caller's, which must
  // be above the old one. The other parts are of that epoch.
  virtual Answer<ResumedLeases> resume(const LeaseCaller& caller, const ResumeArgs& known) = 0;
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

}  // namespace arenad::server
