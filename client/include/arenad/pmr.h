// Standard containers in an arena: ArenaResource (std::pmr) and ArenaAllocator<T>.
//
// Purpose: any container whose memory shall lie in shared memory. ArenaResource serves plain
// pointers, for this process;
//   ArenaAllocator<T> serves OffsetPtr<T>, so that other processes may read a std::vector that lies
//   in the arena.
// Invariants: memory is held by the handle's session, and goes with it: close the session after the
// containers. A peer finds the
//   block of an address by itself; for a writer the resource keeps a table of what it gave out.
// Threads: any, at once. Errors: std::bad_alloc, as the standard demands; alignment above 4096 and
// handles that map nothing
//   writable, too.
// Crash: the daemon gives the memory back with the session.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <mutex>
#include <new>
#include <unordered_map>

#include "arenad/arena_handle.h"
#include "arenad/offset_ptr.h"

namespace arenad::client {

class ArenaResource final : public std::pmr::memory_resource {
 public:
  // A handle of a writer or peer. `tag` labels the blocks.
  explicit ArenaResource(ArenaHandle arena, std::uint32_t tag = 0)
      : arena_(std::move(arena)), tag_(tag) {}

  const ArenaHandle& arena() const { return arena_; }

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override;
  void do_deallocate(void* address, std::size_t bytes, std::size_t alignment) override;
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

  const ArenaHandle arena_;
  const std::uint32_t tag_;
  std::mutex mutex_;
  std::unordered_map<std::uint64_t, Ref> refs_;  // a writer's, by offset
};

// The resource outlives the containers. Its address in them means nothing in other processes, which
// may read but not grow them.
template <class T>
class ArenaAllocator {
 public:
  using value_type = T;
  using pointer = OffsetPtr<T>;

  ArenaAllocator(ArenaResource* resource)
      : resource_(resource) {}  // NOLINT: as std::pmr::polymorphic_allocator
  template <class U>
  ArenaAllocator(const ArenaAllocator<U>& o) : resource_(o.resource()) {}  // NOLINT

  pointer allocate(std::size_t count) {
    if (count > SIZE_MAX / sizeof(T)) throw std::bad_array_new_length();
    return pointer(static_cast<T*>(resource_->allocate(count * sizeof(T), alignof(T))));
  }
  void deallocate(const pointer& at, std::size_t count) {
    resource_->deallocate(at.get(), count * sizeof(T), alignof(T));
  }

  ArenaResource* resource() const { return resource_; }
  friend bool operator==(const ArenaAllocator& a, const ArenaAllocator& b) {
    return a.resource_ == b.resource_;
  }

 private:
  ArenaResource* resource_;
};

}  // namespace arenad::client
