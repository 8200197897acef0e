// AllocatorContext: what a workload needs of an allocator, so that one kernel measures all of them.
//
// Purpose: the concept; LargeContext, which workloads of large blocks need; and two helpers against
//   the optimiser (touch, opaque).
// Invariants: a context never returns a failure. allocate() returns a block and has written its
//   first byte. When the allocator refuses an allocation or a free, the context throws
//   std::exception with what to do, and the run has failed. So kernels have no error branch. Each
//   kernel frees exactly what it allocated, so conservation can be checked afterwards.
// Threads: one context per thread. A Handle may travel to another thread's context of the same
//   allocator.
// Crash: kernels keep handles in private memory. The allocator gives back what they held.
#pragma once

#include <concepts>
#include <cstddef>
#include <optional>
#include <type_traits>

namespace arenad::load {

template <class C>
concept AllocatorContext = requires(C& context, std::size_t bytes, typename C::Handle handle) {
  requires std::is_trivially_copyable_v<typename C::Handle> && sizeof(typename C::Handle) == 8;
  { context.allocate(bytes) } -> std::same_as<typename C::Handle>;  // one block, first byte written
  context.free(handle);
  context.flush();  // end of a batch, or nothing to do: publish frees that were gathered. A malloc
                    // does nothing here
};

// A block, and where it lies in this process.
template <class Handle>
struct Placed {
  Handle handle;
  std::byte* data;
};

template <class C>
concept LargeContext = AllocatorContext<C> &&
    requires(C& context, std::size_t bytes, typename C::Handle handle) {
  // As allocate().
  { context.allocate_placed(bytes) } -> std::same_as<Placed<typename C::Handle>>;
  // As allocate(), but nothing when there is no room. Other refusals throw.
  { context.try_allocate(bytes) } -> std::same_as<std::optional<typename C::Handle>>;
  // Makes the caller the holder of a block that another context allocated, and says where the
  // block lies in this process. An allocator without holders only says where.
  { context.take_over(handle) } -> std::same_as<std::byte*>;
};

// Writes the first byte, in the same way for every subject. The write is volatile, because
// compilers remove a malloc whose memory is freed unused.
inline void touch(void* block) { *static_cast<volatile std::byte*>(block) = std::byte{1}; }

// Hides the origin of a value from the compiler, at no cost. The compiler then does not know that a
// pointer came from malloc, or that a size is constant.
template <class T>
inline T opaque(T value) {
  asm volatile("" : "+r"(value));
  return value;
}

inline constexpr std::size_t kBlockBytes =
    256;  // of an operation, unless a workload says otherwise

}  // namespace arenad::load
