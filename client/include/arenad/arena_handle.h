// ArenaHandle: a session's access to one arena.
//
// Purpose: allocate, free, take over, share and describe blocks, and reach the mapped data. All
//   attach modes have the same calls. A peer's calls are served in this process, by the heap of the
//   calling thread. The calls of the other modes are served by the handle's shard.
// Invariants: a handle's calls go to one shard. A block that another heap owns can be freed here
//   too; that is a remote free. Copies of a handle are cheap; they share attachment and mapping.
// Threads: any thread, at the same time. Calls block until the answer, or until the call timeout
//   (ConnectOptions::call_timeout_ms). A peer's calls are loads and stores. A peer waits for the
//   daemon when a thread allocates for the first time, and when no leased slab is left.
// Errors of every call: UNKNOWN_SESSION (closed, or ended by the daemon), NOT_ATTACHED (detached),
//   READ_ONLY, UNKNOWN_ARENA (deleted), UNAVAILABLE (the daemon does not answer), FORKED (this
//   process is a child of the process that attached). Errors of one call are named beside it.
// After a detach, and when the arena was deleted, every call answers so. Handles and Blocks stay
//   readable. The mapping and its descriptors go with the last of them.
// Crash: the session holds an allocation whose answer never arrived. The daemon gives the block
//   back with the session.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "arenad/allocator/base/export.h"
#include "arenad/block.h"
#include "arenad/peer_cache.h"
#include "arenad/types.h"

namespace arenad::client {

class Attachment;

class ARENAD_API ArenaHandle {
 public:
  // Attached to nothing: every call answers FAILED_PRECONDITION.
  ArenaHandle() = default;

  // --- allocate
  // One block of at least `size_bytes` (1 .. the arena's capacity), owned by the Block.
  // Errors: INVALID_SIZE, INVALID_ALIGNMENT, INVALID_TAG, ARENA_FULL, MACHINE_FULL, WAIT_EXPIRED,
  // QUOTA_SESSION, QUOTA_USER, QUARANTINED, DRAINING.
  Answer<Block> allocate(std::uint64_t size_bytes, const AllocateOptions& options = {}) const {
    if (options.align_bytes == 0) [[likely]] {
      if (const EnteredHeap heap = peer_cache.enter(pool_)) [[likely]] {
        const auto got = heap.allocate(size_bytes, options.tag);
        if (got.ok()) [[likely]] {
          heap.facts().made_block();
          peer_cache.leave();
          return Answer<Block>(std::in_place, Block::Maker(), attachment_.get(),
                               base_ + got->offset, got->ref, got->offset,
                               heap.facts().usable_bytes(size_bytes), shard_, free_pool_);
        }
        peer_cache.leave();
      }
    }
    return allocate_slow(size_bytes, options);
  }

  // The fastest way for a peer: no owner, and no text in errors. The caller frees the block.
  // Errors: as allocate. Failures that arenad has no reason for come as the nearest reason:
  // DRAINING for UNAVAILABLE, WAIT_EXPIRED for a call that timed out.
  Result<AllocatedBlock, Error> try_allocate(std::uint64_t size_bytes,
                                             std::uint32_t tag = 0) const {
    if (const EnteredHeap heap = peer_cache.enter(pool_)) [[likely]] {
      const auto got = heap.allocate(size_bytes, tag);
      peer_cache.leave();
      if (got.ok()) [[likely]]
        return AllocatedBlock{got->ref, got->offset, heap.facts().usable_bytes(size_bytes)};
    }
    return try_allocate_slow(size_bytes, tag);
  }

  // `count` blocks of one size, or one block of each size: all or nothing. At most
  // kMaxBlocksPerCall blocks. The caller frees the blocks. Errors: as allocate, and INVALID_COUNT.
  Answer<std::vector<AllocatedBlock>> allocate_many(std::uint64_t size_bytes, std::uint32_t count,
                                                    const AllocateOptions& options = {}) const;
  Answer<std::vector<AllocatedBlock>> allocate_sizes(std::span<const std::uint64_t> sizes_bytes,
                                                     const AllocateOptions& options = {}) const;

  // --- free
  // Frees one block. Any session may free it; in a holder_only arena only the holder may. A block
  // that somebody else may just have taken over, or shares, is freed with free_if_held: free() may
  // then free the taker's block, and both of them are told that they have it.
  // Errors: DOUBLE_FREE, STALE_REF, FOREIGN_REF, NOT_HOLDER (also: the block is shared).
  Status free(Ref ref) const {
    const Error error = free_pool_ != kNoPool ? try_free(ref) : Error::kInternal;
    return error == Error::kNone ? Status{} : free_slow(ref, error);
  }
  // The same without a text. kNone, or the reason; failures without a reason as in try_allocate.
  Error try_free(Ref ref) const {
    if (const EnteredHeap heap = peer_cache.enter(free_pool_)) [[likely]] {
      const Error error = heap.free(ref);
      peer_cache.leave();
      return error;
    }
    return try_free_slow(ref);
  }
  // Frees any number of blocks; more than kMaxBlocksPerCall go in several calls. All good refs are
  // freed, and the answer names each bad one, with the errors of free(). An error of the whole call
  // means that an unknown part of `refs` was freed. It is safe to free all of them again, because
  // a ref that is gone is refused.
  Answer<BatchAnswer> free(std::span<const Ref> refs) const;
  // Frees a block if this session holds it, and nobody shares it. Exactly one of a free_if_held and
  // a take-over of the same ref succeeds. Errors: as free(), and NOT_HOLDER in every arena.
  Status free_if_held(Ref ref) const;
  Answer<BatchAnswer> free_if_held(std::span<const Ref> refs) const;
  // A peer gathers its frees of other heaps' blocks, and announces them in batches: at the latest
  // some tenths of a second after the thread's last call. flush() announces the calling thread's
  // frees now. It does nothing for other modes.
  void flush() const;

  // --- hand over and share
  // Takes blocks over: this session becomes their holder, under `tag`. Errors per ref as free();
  // INVALID_TAG.
  Answer<BatchAnswer> acquire(std::span<const Ref> refs, std::uint32_t tag = 0) const;
  // Makes this session a sharer of blocks that it holds, or that are shared already. A shared block
  // lives until its last sharer has released it; a session that ends releases. Sharing again
  // changes nothing. Errors per ref: NOT_HOLDER (another session holds the block; that session
  // shares it first), SHARERS_FULL (40 sessions share in this arena), QUOTA_USER (the limit
  // max_user_sharers), DOUBLE_FREE, STALE_REF, FOREIGN_REF. A peer's first share is a call.
  Answer<BatchAnswer> share(std::span<const Ref> refs) const;
  // Gives up this session's share. Errors per ref: NOT_HOLDER (the session has no share),
  // DOUBLE_FREE, STALE_REF, FOREIGN_REF.
  Answer<BatchAnswer> release(std::span<const Ref> refs) const;
  // Takes over and describes the block of a ref that another session sent, and owns the block.
  // Errors: as acquire.
  Answer<Block> take(Ref ref, std::uint32_t tag = 0) const;
  // Owns a block that this session allocated with allocate_many, try_allocate or an Exchange.
  // Makes no call to the daemon.
  Block own(const AllocatedBlock& block) const;

  // --- look
  // What is known of each ref. A bad ref is no error: its state says so.
  Answer<std::vector<BlockInfo>> describe(std::span<const Ref> refs) const;
  // The ref of the block whose payload starts at `address`. Peers only; another mode keeps the ref.
  // Errors: FOREIGN_REF (no block starts there), MODE_UNAVAILABLE (not a peer).
  Answer<Ref> ref_at(const void* address) const;

  // --- detach
  // Ends the session's attachment to the arena, for all handles. The daemon takes back the leases
  // and heaps of a peer. Then the arena can be deleted without force, and the session can attach to
  // it again. Answers when that is done, with what was given back.
  // Blocks: while the session holds or shares blocks of the arena the answer is BLOCKS_HELD, and
  // the session stays attached. Free them, let others take them over, or set
  // DetachOptions::give_up_blocks. A Block object of a given-up block frees nothing any more, and
  // its memory may be another holder's.
  // Threads: other threads may work in the arena meanwhile. Those of a peer wait for the answer in
  // their next call. Their calls then go on, or answer NOT_ATTACHED. In the other modes the daemon
  // refuses them, and detach waits for the calls that are under way. It does not wait for an
  // Exchange or a CallPump: end those first.
  // Errors: BLOCKS_HELD; NOT_ATTACHED (detached already), UNKNOWN_ARENA (the arena was deleted: the
  // session is not attached to it any more); UNAVAILABLE (the daemon did not answer). In the last
  // case nobody knows yet. Until the daemon is back, calls of a peer answer UNAVAILABLE. Then they
  // go on, or answer NOT_ATTACHED. Call detach again, or attach.
  // Crash: a SIGKILL at any point ends the session, which takes back what is left.
  Answer<GivenBack> detach(const DetachOptions& options = {}) const;

  // --- facts
  const ArenaInfo& info() const;  // as it was when the session attached
  AttachMode mode() const;
  SessionId session_id() const;             // the holder in block words; 0 of an empty handle
  ShardId shard() const { return shard_; }  // kAnyShard when the daemon is reached over TCP
  // The same attachment and mapping through another shard. A peer goes on leasing through the shard
  // by which it attached. Errors: INVALID_ARGUMENT (no such shard).
  Answer<ArenaHandle> on_shard(ShardId shard) const;

  // --- mapped data
  // All of the arena's data, at an address that differs from process to process. Empty for remote,
  // and in a forked child, which does not have the mapping.
  // Touch only memory of blocks that you may use. A store into a reader's mapping is a SIGSEGV.
  std::span<const std::byte> data() const;
  // The same for a writer or peer; empty for reader and remote.
  std::span<std::byte> writable_data() const;
  // The payload of a block; empty when the data is not mapped for writing.
  std::span<std::byte> bytes(const AllocatedBlock& block) const {
    return {base_ + block.offset_bytes, base_ == nullptr ? 0 : block.usable_bytes};
  }
  // The payload of a described block, for readers too; empty when it is not mapped.
  std::span<const std::byte> bytes(const BlockInfo& info) const;

 private:
  friend class Session;
  friend class Exchange;
  friend class CallPump;
  ArenaHandle(std::shared_ptr<Attachment> attachment, ShardId shard);

  Block block_of(const AllocatedBlock& block) const;  // of a block that is counted already
  Answer<Block> take_in_memory(Ref ref, std::uint32_t tag) const;
  Answer<Block> allocate_slow(std::uint64_t size_bytes, const AllocateOptions& options) const;
  Result<AllocatedBlock, Error> try_allocate_slow(std::uint64_t size_bytes,
                                                  std::uint32_t tag) const;
  Error try_free_slow(Ref ref) const;
  Status free_slow(Ref ref, Error error) const;

  std::shared_ptr<Attachment> attachment_;
  std::byte* base_ = nullptr;  // of the data, when it is mapped for writing
  std::uint64_t bytes_ = 0;
  ShardId shard_ = kAnyShard;
  PoolId pool_ = kNoPool;  // of a peer's heaps
  // pool_ where a free needs no check of the holder. kNoPool in a holder_only arena.
  PoolId free_pool_ = kNoPool;
};

}  // namespace arenad::client
