// AllocatorContext: what a workload needs of an allocator, so that one kernel measures all of them.
//
// Purpose: the concept, and the two helpers that keep a compiler honest (touch, opaque).
// Invariants: a context never returns a failure. allocate() gives a block whose first byte it has
// written; when it cannot,
//   or when a free is refused, it throws std::exception with what to do, and the run ends as
//   failed. So kernels have no error branch and conservation can be checked afterwards: every
//   kernel frees exactly what it allocated.
// Threads: one context per thread. A Handle may travel to another thread's context of the same
// allocator. Crash: kernels keep handles in private memory; what they held is the allocator's to
// give back.
#pragma once

#include <concepts>
#include <cstddef>
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

// Writes the first byte the way every subject does it. Volatile, or a malloc that is freed at once
// is optimised away.
inline void touch(void* block) { *static_cast<volatile std::byte*>(block) = std::byte{1}; }

// Hides where a value came from, at no cost: a pointer so hidden is not known to be malloc's, a
// size not a constant.
template <class T>
inline T opaque(T value) {
  asm volatile("" : "+r"(value));
  return value;
}

inline constexpr std::size_t kBlockBytes =
    256;  // of an operation, unless a workload says otherwise

}  // namespace arenad::load
