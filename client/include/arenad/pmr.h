// Standard containers in an arena: ArenaResource and ArenaAllocator<T>.
//
// Purpose: containers whose memory lies in shared memory.
//   * ArenaResource is a std::pmr::memory_resource. All std::pmr containers work with it: vector,
//     string, list, map, unordered_map, deque. They store plain pointers, so only the process that
//     made such a container can use it.
//   * ArenaAllocator<T> stores OffsetPtr<T>. Other processes can read a std::vector with it, when
//     the vector object lies in the arena too. They cannot grow it.
//   With libstdc++ 12, std::list, std::map, std::set and std::string do not compile with
//   ArenaAllocator, because they store plain pointers. std::deque and std::unordered_map compile,
//   but they store plain pointers too: only the process that made them can use them. Use the
//   std::pmr containers for these.
// Invariants: the handle's session holds the memory, and it goes with the session: destroy the
//   containers before you close it. A peer finds the block of an address by itself. For a writer
//   the resource keeps a table of its blocks.
// Threads: any thread, at the same time; of each container as the standard says.
// Errors: std::bad_alloc, as the standard demands; also for an alignment above 4096, and for a
//   handle that maps nothing for writing.
// Crash: the daemon gives the memory back with the session.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <mutex>
#include <new>
#include <unordered_map>

#include "arenad/allocator/base/export.h"
#include "arenad/arena_handle.h"
#include "arenad/offset_ptr.h"

namespace arenad::client {

class ARENAD_API ArenaResource final : public std::pmr::memory_resource {
 public:
  // `arena` is the handle of a writer or peer. `tag` labels the blocks.
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
  std::unordered_map<std::uint64_t, Ref> refs_;  // of a writer, by offset
};

// The resource must outlive the containers. A container stores the resource's address, which means
// nothing in another process: another process may read the container, but not grow it.
template <class T>
class ArenaAllocator {
 public:
  using value_type = T;
  using pointer = OffsetPtr<T>;

  // Implicit, as std::pmr::polymorphic_allocator is.
  ArenaAllocator(ArenaResource* resource) : resource_(resource) {}
  template <class U>
  ArenaAllocator(const ArenaAllocator<U>& o) : resource_(o.resource()) {}

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
