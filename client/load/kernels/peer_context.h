// PeerContext: an arena in which this process is a peer, as an AllocatorContext.
//
// Purpose: allocates and frees through try_allocate and try_free, which are a peer's fastest way:
//   the calling thread's own heap, and no call. The handle is the 64-bit ref. The first byte is
//   written through the mapping.
// Invariants: the handle is attached as peer and outlives the context.
// Threads: any. Each call uses the heap of the calling thread.
// Crash: the daemon adopts the heap and gives back what the session held.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>

#include "arenad/arena_handle.h"
#include "client/load/kernels/context.h"

namespace arenad::load {

class PeerContext {
 public:
  using Handle = std::uint64_t;

  explicit PeerContext(const client::ArenaHandle& arena)
      : arena_(arena), data_(arena.writable_data().data()) {}

  Handle allocate(std::size_t bytes) {
    const auto block = arena_.try_allocate(bytes);
    if (!block.ok()) [[unlikely]]
      refused("allocate", block.error());
    touch(data_ + block->offset_bytes);
    return block->ref.value;
  }

  void free(Handle handle) {
    const Error error = arena_.try_free(Ref{handle});
    if (error != Error::kNone) [[unlikely]]
      refused("free", error);
  }

  void flush() { arena_.flush(); }

  // --- LargeContext
  Placed<Handle> allocate_placed(std::size_t bytes) {
    const auto block = arena_.try_allocate(bytes);
    if (!block.ok()) [[unlikely]]
      refused("allocate", block.error());
    touch(data_ + block->offset_bytes);
    return {block->ref.value, data_ + block->offset_bytes};
  }

  std::optional<Handle> try_allocate(std::size_t bytes) {
    const auto block = arena_.try_allocate(bytes);
    if (!block.ok()) {
      if (block.error() == Error::kArenaFull || block.error() == Error::kMachineFull) return {};
      refused("allocate", block.error());
    }
    touch(data_ + block->offset_bytes);
    return block->ref.value;
  }

  std::byte* take_over(Handle handle) {
    auto block = arena_.take(Ref{handle});
    if (!block.ok()) [[unlikely]]
      throw std::runtime_error("take over was refused: " + block.error().text());
    std::byte* const data = block->data();
    (void)block->release();  // free() ends the block
    return data;
  }

 private:
  [[noreturn, gnu::noinline, gnu::cold]] static void refused(const char* call, Error error) {
    throw std::runtime_error(std::string(call) + " was refused: " + error_name(error) + ". " +
                             error_advice(error));
  }

  const client::ArenaHandle arena_;  // a copy, close to the loop
  std::byte* data_;
};

static_assert(LargeContext<PeerContext>);

}  // namespace arenad::load
