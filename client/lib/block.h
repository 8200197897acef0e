// Block: one allocated block with an owner.
//
// Purpose: RAII; the block goes back when its Block goes away, or is handed on as a ref.
// Invariants: a Block that is not empty is freed exactly once, by free(), by destruction, or by whoever got release()'s ref.
//   data() stays mapped as long as the Block does, even after its session was closed.
// Threads: one thread at a time; hand it over with a move.
// Costs: destruction is one unary call (tens of microseconds). For many blocks use ArenaHandle::free or Exchange.
// Crash: the daemon gives the block back with the session, unless another session took it over.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "client/lib/types.h"

namespace arenad::client {

class Attachment;

class Block {
 public:
  Block() = default;                             // empty
  Block(Block&& other) noexcept;                 // leaves `other` empty
  Block& operator=(Block&& other) noexcept;      // frees the block that was here
  ~Block();                                      // free(), whose answer nobody sees; nothing once the session is closed

  bool empty() const { return attachment_ == nullptr; }
  explicit operator bool() const { return !empty(); }

  Ref ref() const { return block_.ref; }
  std::uint64_t offset_bytes() const { return block_.offset_bytes; }   // of the payload, in the arena's data
  std::uint64_t size_bytes() const { return block_.usable_bytes; }     // usable; at least what was asked for
  // The payload in this process, size_bytes() long; nullptr and empty unless the attachment is a writer's (a remote one maps
  // nothing, and a reader has no blocks: see ArenaHandle::bytes).
  std::byte* data() const { return data_; }
  std::span<std::byte> bytes() const { return {data_, data_ == nullptr ? 0 : block_.usable_bytes}; }

  // Frees it now and says how that went; the Block is empty afterwards. Errors: DOUBLE_FREE, STALE_REF, NOT_HOLDER,
  // UNKNOWN_SESSION, UNAVAILABLE.
  Status free();
  // Gives the responsibility away: the Block is empty, the block stays allocated. Hand the ref to who is to free it.
  [[nodiscard]] Ref release();

 private:
  friend class ArenaHandle;
  Block(std::shared_ptr<Attachment> attachment, std::uint32_t shard, const AllocatedBlock& block);

  std::shared_ptr<Attachment> attachment_;
  std::byte* data_ = nullptr;
  AllocatedBlock block_;
  std::uint32_t shard_ = kAnyShard;
};

}  // namespace arenad::client
