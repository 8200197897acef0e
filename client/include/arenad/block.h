// Block: one allocated block with an owner.
//
// Purpose: the owner frees the block when it is destroyed, or hands the block on as a ref.
// Invariants: a block that has an owner is freed exactly once: by free(), by the destructor, or by
//   the receiver of release()'s ref. data() stays mapped as long as the Block lives, even after the
//   session was closed.
// Costs: a peer's Block costs a few nanoseconds. In the other modes the destructor is one call to
//   the daemon, some tens of microseconds; for many blocks use ArenaHandle::free or Exchange. A
//   peer's Block counts no references: its heap counts Blocks, and close() settles the sum.
// Threads: one thread at a time. Move the Block to hand it to another thread.
// fork: a Block that a child inherited does nothing.
// Crash: the daemon gives the block back with the session, unless another session took it over.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "arenad/allocator/base/export.h"
#include "arenad/peer_cache.h"
#include "arenad/types.h"

namespace arenad::client {

class Attachment;
class ArenaHandle;

class ARENAD_API Block {
 public:
  // Only an ArenaHandle makes a Block that is not empty.
  class Maker {
    friend class ArenaHandle;
    Maker() = default;
  };
  // The attachment counts this Block already.
  Block(Maker, Attachment* attachment, std::byte* data, Ref ref, std::uint64_t offset_bytes,
        std::uint64_t usable_bytes, ShardId shard, PoolId pool)
      : attachment_(attachment),
        data_(data),
        block_{ref, offset_bytes, usable_bytes},
        shard_(shard),
        pool_(pool) {}

  Block() = default;             // empty
  Block(Block&& other) noexcept  // leaves `other` empty
      : attachment_(std::exchange(other.attachment_, nullptr)),
        data_(std::exchange(other.data_, nullptr)),
        block_(std::exchange(other.block_, {})),
        shard_(other.shard_),
        pool_(other.pool_) {}
  Block& operator=(Block&& other) noexcept {  // frees the block that was here
    if (this == &other) return *this;
    destroy();
    attachment_ = std::exchange(other.attachment_, nullptr);
    data_ = std::exchange(other.data_, nullptr);
    block_ = std::exchange(other.block_, {});
    shard_ = other.shard_;
    pool_ = other.pool_;
    return *this;
  }
  // As free(), without the answer. Does nothing when the session is closed.
  ~Block() { destroy(); }

  bool empty() const { return attachment_ == nullptr; }
  explicit operator bool() const { return !empty(); }

  Ref ref() const { return block_.ref; }
  // Where the payload starts in the arena's data.
  std::uint64_t offset_bytes() const { return block_.offset_bytes; }
  // Usable bytes; at least as many as were asked for.
  std::uint64_t size_bytes() const { return block_.usable_bytes; }
  // The payload in this process, size_bytes() long. A remote attachment maps nothing: nullptr and
  // empty. A reader has no Blocks: see ArenaHandle::bytes.
  std::byte* data() const { return data_; }
  std::span<std::byte> bytes() const { return {data_, data_ == nullptr ? 0 : block_.usable_bytes}; }

  // Frees the block now. The Block is empty afterwards, whatever the answer is. Errors:
  // DOUBLE_FREE, STALE_REF, NOT_HOLDER (another session holds it in a holder_only arena, or it is
  // shared: see ArenaHandle::release), UNKNOWN_SESSION, UNAVAILABLE, FORKED.
  Status free();
  // Empties the Block; the block stays allocated. Hand the ref to the session that is to free it.
  [[nodiscard]] Ref release();

 private:
  friend class ArenaHandle;
  void destroy() {
    if (attachment_ == nullptr) return;
    if (const EnteredHeap heap = peer_cache.enter(pool_)) [[likely]] {
      (void)heap.free(block_.ref);
      heap.facts().lost_block();
      peer_cache.leave();
      return;
    }
    destroy_slow();
  }
  void destroy_slow();
  void forget() {
    attachment_ = nullptr;
    data_ = nullptr;
    block_ = {};
  }

  Attachment* attachment_ = nullptr;  // lives as long as Blocks of it do
  std::byte* data_ = nullptr;
  AllocatedBlock block_;
  ShardId shard_ = kAnyShard;
  // The pool whose heaps free the block. kNoPool: not a peer's, or the free must be checked.
  PoolId pool_ = kNoPool;
};

}  // namespace arenad::client
