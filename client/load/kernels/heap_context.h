// HeapContext: an arenad heap as an AllocatorContext, for workloads inside one process.
//
// Purpose: allocates from a Heap over a mapped arena. The handle is the 64-bit ref. The first byte
//   is written through the mapping of the data file.
// Invariants: the arena is mapped (ArenaConfig::map_data) and outlives the context. Frees of other
//   heaps' blocks are gathered until flush().
// Threads: the heap's owner. Crash: as heap.h says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "allocator/heap/heap.h"
#include "client/load/kernels/context.h"

namespace arenad::load {

class HeapContext {
 public:
  using Handle = std::uint64_t;

  explicit HeapContext(Heap& heap, Holder holder)
      : heap_(heap), data_(heap.arena().data()), holder_(holder) {}

  Handle allocate(std::size_t bytes) {
    const Result<Allocation> block = heap_.allocate(bytes, holder_);
    if (!block.ok()) [[unlikely]]
      refused("allocate", block.error());
    touch(data_ + block->offset);
    return block->ref.value;
  }

  void free(Handle handle) {
    const Error error = heap_.free(Ref{handle});
    if (error != Error::kNone) [[unlikely]]
      refused("free", error);
  }

  void flush() { heap_.publish(); }

 private:
  [[noreturn, gnu::noinline, gnu::cold]] static void refused(const char* call, Error error) {
    throw std::runtime_error(std::string(call) + " was refused: " + error_name(error) + ". " +
                             error_advice(error));
  }

  Heap& heap_;
  std::byte* data_;
  Holder holder_;
};

static_assert(AllocatorContext<HeapContext>);

}  // namespace arenad::load
