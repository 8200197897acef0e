// Block: one allocated block with an owner.
//
// Purpose: RAII; the block goes back when its Block goes away, or is handed on as a ref.
// Invariants: a Block that is not empty is freed exactly once, by free(), by destruction, or by
// whoever got release()'s ref.
//   data() stays mapped as long as the Block does, even after its session was closed.
// Threads: one thread at a time; hand it over with a move.
// Costs: of a peer's block a few nanoseconds; else destruction is one unary call (tens of
// microseconds). For many of the latter
//   use ArenaHandle::free or Exchange. A peer's Block counts no reference: its heap counts Blocks,
//   and the sum is settled when the session is closed.
// fork: a Block that a child inherited does nothing.
// Crash: the daemon gives the block back with the session, unless another session took it over.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "arenad/types.h"
#include "client/lib/peer_heap.h"

namespace arenad::client {

class Attachment;
class ArenaHandle;

class Block {
 public:
  class Maker {  // who may make one that is not empty
    friend class ArenaHandle;
    Maker() = default;
  };
  // The attachment counts this Block already.
  Block(Maker, Attachment* attachment, std::byte* data, Ref ref, std::uint64_t offset,
        std::uint64_t usable, std::uint32_t shard, std::uint32_t pool)
      : attachment_(attachment),
        data_(data),
        block_{ref, offset, usable},
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
  ~Block() { destroy(); }  // free(), whose answer nobody sees; nothing once the session is closed

  bool empty() const { return attachment_ == nullptr; }
  explicit operator bool() const { return !empty(); }

  Ref ref() const { return block_.ref; }
  std::uint64_t offset_bytes() const {
    return block_.offset_bytes;
  }  // of the payload, in the arena's data
  std::uint64_t size_bytes() const {
    return block_.usable_bytes;
  }  // usable; at least what was asked for
  // The payload in this process, size_bytes() long; nullptr and empty for a remote attachment,
  // which maps nothing. (A reader has no blocks: see ArenaHandle::bytes.)
  std::byte* data() const { return data_; }
  std::span<std::byte> bytes() const { return {data_, data_ == nullptr ? 0 : block_.usable_bytes}; }

  // Frees it now and says how that went; the Block is empty afterwards. Errors: DOUBLE_FREE,
  // STALE_REF, NOT_HOLDER (another session's in a holder_only arena, or shared: see
  // ArenaHandle::release), UNKNOWN_SESSION, UNAVAILABLE, FORKED.
  Status free();
  // Gives the responsibility away: the Block is empty, the block stays allocated. Hand the ref to
  // who is to free it.
  [[nodiscard]] Ref release();

 private:
  friend class ArenaHandle;
  void destroy() {
    if (attachment_ == nullptr) return;
    if (PeerHeap* const heap = peer_cache.enter(pool_); heap != nullptr) [[likely]] {
      (void)heap->heap().free(block_.ref);
      heap->lost_block();
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

  Attachment* attachment_ = nullptr;  // stays as long as Blocks of it do
  std::byte* data_ = nullptr;
  AllocatedBlock block_;
  std::uint32_t shard_ = kAnyShard;
  std::uint32_t pool_ = 0;  // whose heaps free it; 0: not a peer's, or only a checked free will do
};

}  // namespace arenad::client
