// ArenaHandle: a session's access to one arena.
//
// Purpose: allocate, free, take over, share and describe blocks; the mapped data, when the mode
// maps it. The same calls in every
//   mode: a peer's are served by a heap of the calling thread in this process, the others' by the
//   handle's shard.
// Invariants: all calls of a remote, reader or writer handle go to its shard, whose heap serves
// them; a block of another heap
//   freed here is a remote free. Copies are cheap and share the attachment and the mapping.
// Threads: any thread, at once. Calls block until the answer or the call's timeout
// (ConnectOptions::call_timeout_ms). A peer's
//   calls are made of loads and stores; only a thread's first allocation, and one for which nothing
//   is leased yet, waits for the daemon.
// Errors of every call: UNKNOWN_SESSION (closed, or ended by the daemon), NOT_ATTACHED, READ_ONLY,
// UNKNOWN_ARENA, UNAVAILABLE
//   (the daemon is not there), FORKED (this process is a child of the one that attached); those of
//   one call beside it.
// Crash: an allocation whose answer never arrived is held by the session, and is given back with
// it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "arenad/block.h"
#include "arenad/types.h"
#include "client/lib/peer_heap.h"

namespace arenad::client {

class Attachment;
class PeerPool;

class ArenaHandle {
 public:
  ArenaHandle() = default;  // attached to nothing; every call answers FAILED_PRECONDITION

  // One block of at least `size_bytes` (1 .. the arena's capacity) that frees itself.
  // Errors: INVALID_SIZE, INVALID_ALIGNMENT, ARENA_FULL, MACHINE_FULL, WAIT_EXPIRED, QUOTA_SESSION,
  // QUARANTINED, DRAINING.
  Answer<Block> allocate(std::uint64_t size_bytes, const AllocateOptions& options = {}) const {
    if (PeerHeap* const heap = options.align_bytes == 0 ? peer_cache.enter(pool_) : nullptr;
        heap != nullptr) [[likely]] {
      const auto got = heap->heap().allocate(size_bytes, heap->holder(options.tag));
      if (got.ok()) [[likely]] {
        heap->made_block();
        peer_cache.leave();
        return Answer<Block>(std::in_place, Block::Maker(), attachment_.get(), base_ + got->offset,
                             got->ref, got->offset, heap->usable_bytes(size_bytes), shard_,
                             free_pool_);
      }
      peer_cache.leave();
    }
    return allocate_slow(size_bytes, options);
  }

  // The same for callers who own by hand, with nothing but the error's number: a peer's fastest
  // way.
  Result<AllocatedBlock, Error> try_allocate(std::uint64_t size_bytes,
                                             std::uint32_t tag = 0) const {
    if (PeerHeap* const heap = peer_cache.enter(pool_); heap != nullptr) [[likely]] {
      const auto got = heap->heap().allocate(size_bytes, heap->holder(tag));
      if (got.ok()) [[likely]] {
        peer_cache.leave();
        return AllocatedBlock{got->ref, got->offset, heap->usable_bytes(size_bytes)};
      }
      peer_cache.leave();
    }
    return try_allocate_slow(size_bytes, tag);
  }
  // Frees one block; kNone, or why not. Errors without a word of arenad's own come as the nearest:
  // DRAINING for UNAVAILABLE, WAIT_EXPIRED for a call that timed out.
  Error try_free(Ref ref) const {
    if (PeerHeap* const heap = peer_cache.enter(free_pool_); heap != nullptr) [[likely]] {
      const Error error = heap->heap().free(ref);
      peer_cache.leave();
      return error;
    }
    return try_free_slow(ref);
  }

  // `count` blocks alike, or one block of each size: all or nothing, at most kMaxBlocksPerCall in
  // one call. The caller is to free them (free, own, Exchange). Errors: as allocate, and
  // INVALID_COUNT.
  Answer<std::vector<AllocatedBlock>> allocate_many(std::uint64_t size_bytes, std::uint32_t count,
                                                    const AllocateOptions& options = {}) const;
  Answer<std::vector<AllocatedBlock>> allocate_sizes(std::span<const std::uint64_t> sizes_bytes,
                                                     const AllocateOptions& options = {}) const;

  // Frees blocks, whoever allocated them (in a holder_only arena: those this session holds). Any
  // number; more than kMaxBlocksPerCall go in several calls. All good refs are freed, each bad one
  // is named in the answer: DOUBLE_FREE, STALE_REF, FOREIGN_REF, NOT_HOLDER. An error of the call
  // as a whole means that an unknown part of `refs` was freed; freeing the rest again is safe, as a
  // ref that is gone is refused. A peer tells other heaps of their freed blocks in batches, at the
  // latest a few tenths of a second after its last call; flush() tells them now.
  Answer<BatchAnswer> free(std::span<const Ref> refs) const;
  Status free(Ref ref) const {
    const Error error = free_pool_ != 0 ? try_free(ref) : Error::kInternal;
    return error == Error::kNone ? Status{} : free_slow(ref, error);
  }
  void flush() const;  // of the calling thread's frees; nothing but for a peer

  // Takes blocks over: this session becomes their holder under `tag`. Per ref as free.
  Answer<BatchAnswer> acquire(std::span<const Ref> refs, std::uint32_t tag = 0) const;
  // Makes this session a sharer of blocks: of those that it holds, and of those that are shared
  // already. A shared block lives until its last sharer releases it; sessions that die release. Per
  // ref: NOT_HOLDER (another session holds it: that one shares it first), SHARERS_FULL (48 sessions
  // share in this arena), DOUBLE_FREE, STALE_REF, FOREIGN_REF. Sharing again is nothing.
  Answer<BatchAnswer> share(std::span<const Ref> refs) const;
  // Gives this session's share up. Per ref: NOT_HOLDER (it has none), DOUBLE_FREE, STALE_REF,
  // FOREIGN_REF.
  Answer<BatchAnswer> release(std::span<const Ref> refs) const;
  // What is known of each ref; never fails for a bad ref.
  Answer<std::vector<BlockInfo>> describe(std::span<const Ref> refs) const;

  // Takes the block of a ref that was handed over (acquire + describe) and owns it. Errors: as
  // acquire.
  Answer<Block> take(Ref ref, std::uint32_t tag = 0) const;
  // Owns a block that allocate_many, try_allocate or Exchange gave to this session; no call.
  Block own(const AllocatedBlock& block) const;

  const ArenaInfo& info() const;  // as of the attachment
  AttachMode mode() const;
  std::uint32_t session_id() const;  // the holder that block words show
  std::uint32_t shard() const;       // kAnyShard when the daemon was reached over TCP
  // The same attachment and mapping through another shard (a peer goes on leasing through the one
  // it was attached by). Errors: INVALID_ARGUMENT (no such shard).
  Answer<ArenaHandle> on_shard(std::uint32_t shard) const;

  // The arena's data as mapped here: all of the capacity, at an address that differs per process;
  // empty for remote. Memory that no block of yours covers is not yours to touch. A store into a
  // reader's mapping is a SIGSEGV.
  std::span<const std::byte> data() const;
  // The same for a writer or peer; empty for reader and remote.
  std::span<std::byte> writable_data() const { return {base_, base_ == nullptr ? 0 : bytes_}; }
  // The payload of a block of this session's; empty when it is not mapped for writing here.
  std::span<std::byte> bytes(const AllocatedBlock& block) const {
    return {base_ + block.offset_bytes, base_ == nullptr ? 0 : block.usable_bytes};
  }
  // The payload of a described block, which is how a reader looks at one; empty when it is not
  // mapped here.
  std::span<const std::byte> bytes(const BlockInfo& info) const;

  // The ref of the block whose payload starts at `address`, as it is now; writers ask the daemon,
  // so they must know the ref. Peers only. Errors: FOREIGN_REF (no block starts there),
  // MODE_UNAVAILABLE (not a peer).
  Answer<Ref> ref_at(const void* address) const;

 private:
  friend class Session;
  friend class Exchange;
  friend class CallPump;
  Block block_of(const AllocatedBlock& block) const;  // counted already
  Answer<Block> take_in_memory(PeerPool& pool, Ref ref, std::uint32_t tag) const;
  Answer<Block> allocate_slow(std::uint64_t size_bytes, const AllocateOptions& options) const;
  Result<AllocatedBlock, Error> try_allocate_slow(std::uint64_t size_bytes,
                                                  std::uint32_t tag) const;
  Error try_free_slow(Ref ref) const;
  Status free_slow(Ref ref, Error error) const;
  ArenaHandle(std::shared_ptr<Attachment> attachment, std::uint32_t shard);

  std::shared_ptr<Attachment> attachment_;
  std::byte* base_ = nullptr;  // of data mapped for writing
  std::uint64_t bytes_ = 0;
  std::uint32_t shard_ = kAnyShard;
  std::uint32_t pool_ = 0;  // of a peer's heaps; 0: not a peer
  std::uint32_t free_pool_ =
      0;  // the same where an unchecked free is right: not in a holder_only arena
};

}  // namespace arenad::client
