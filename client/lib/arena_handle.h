// ArenaHandle: a session's access to one arena through one shard.
//
// Purpose: allocate, free, take over and describe blocks; the mapped data, when the mode maps it.
// Invariants: all calls of a handle go to its shard, whose heap serves them; a block of another shard freed here is a remote
//   free. Copies are cheap and share the attachment and the mapping.
// Threads: any thread, at once. Calls block until the answer or the call's timeout (ConnectOptions::call_timeout_ms).
// Errors of every call: UNKNOWN_SESSION (closed, or ended by the daemon), NOT_ATTACHED, READ_ONLY, UNKNOWN_ARENA, UNAVAILABLE
//   (the daemon is not there); those of one call beside it.
// Crash: an allocation whose answer never arrived is held by the session, and is given back with it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "client/lib/block.h"
#include "client/lib/types.h"

namespace arenad::client {

class Attachment;

class ArenaHandle {
 public:
  ArenaHandle() = default;   // attached to nothing; every call answers FAILED_PRECONDITION

  // One block of at least `size_bytes` (1 .. the arena's capacity) that frees itself.
  // Errors: INVALID_SIZE, INVALID_ALIGNMENT, ARENA_FULL, MACHINE_FULL, WAIT_EXPIRED, QUARANTINED, DRAINING.
  Answer<Block> allocate(std::uint64_t size_bytes, const AllocateOptions& options = {}) const;

  // `count` blocks alike, or one block of each size: all or nothing, at most kMaxBlocksPerCall in one call. The caller is
  // to free them (free, own, Exchange). Errors: as allocate, and INVALID_COUNT.
  Answer<std::vector<AllocatedBlock>> allocate_many(std::uint64_t size_bytes, std::uint32_t count,
                                                    const AllocateOptions& options = {}) const;
  Answer<std::vector<AllocatedBlock>> allocate_sizes(std::span<const std::uint64_t> sizes_bytes,
                                                     const AllocateOptions& options = {}) const;

  // Frees blocks, whoever allocated them (in a holder_only arena: those this session holds). Any number; more than
  // kMaxBlocksPerCall go in several calls. All good refs are freed, each bad one is named in the answer: DOUBLE_FREE, STALE_REF,
  // FOREIGN_REF, NOT_HOLDER. An error of the call as a whole means that an unknown part of `refs` was freed; freeing the rest
  // again is safe, as a ref that is gone is refused.
  Answer<BatchAnswer> free(std::span<const Ref> refs) const;
  Status free(Ref ref) const;

  // Takes blocks over: this session becomes their holder under `tag`. Per ref as free.
  Answer<BatchAnswer> acquire(std::span<const Ref> refs, std::uint32_t tag = 0) const;
  // What is known of each ref; never fails for a bad ref.
  Answer<std::vector<BlockInfo>> describe(std::span<const Ref> refs) const;

  // Takes the block of a ref that was handed over (acquire + describe) and owns it. Errors: as acquire.
  Answer<Block> take(Ref ref, std::uint32_t tag = 0) const;
  // Owns a block that allocate_many or Exchange gave to this session; no call.
  Block own(const AllocatedBlock& block) const;

  const ArenaInfo& info() const;   // as of the attachment
  AttachMode mode() const;
  std::uint32_t shard() const;     // kAnyShard when the daemon was reached over TCP
  // The same attachment and mapping through another shard. Errors: INVALID_ARGUMENT (no such shard).
  Answer<ArenaHandle> on_shard(std::uint32_t shard) const;

  // The arena's data as mapped here: all of the capacity, at an address that differs per process; empty for remote.
  // Memory that no block of yours covers is not yours to touch. A store into a reader's mapping is a SIGSEGV.
  std::span<const std::byte> data() const;
  // The same for a writer; empty for reader and remote.
  std::span<std::byte> writable_data() const;
  // The payload of a described block, which is how a reader looks at one; empty when it is not mapped here.
  std::span<const std::byte> bytes(const BlockInfo& info) const;

 private:
  friend class Session;
  friend class Block;
  friend class Exchange;
  friend class CallPump;
  std::shared_ptr<Attachment> attachment_;
  std::uint32_t shard_ = kAnyShard;
};

}  // namespace arenad::client
