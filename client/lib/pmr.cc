#include "arenad/pmr.h"

#include <algorithm>

namespace arenad::client {
namespace {

// The alignment of a block that was asked for without one.
std::size_t natural_alignment(std::size_t bytes) { return bytes <= 8 ? 8 : 16; }

}  // namespace

void* ArenaResource::do_allocate(std::size_t bytes, std::size_t alignment) {
  const std::size_t size = std::max<std::size_t>(bytes, 1);  // the standard allows 0
  std::uint64_t offset_bytes = 0;
  Ref ref;
  if (arena_.writable_data().empty()) throw std::bad_alloc();
  if (alignment <= natural_alignment(size)) {
    const auto got = arena_.try_allocate(size, tag_);
    if (!got) throw std::bad_alloc();
    offset_bytes = got->offset_bytes;
    ref = got->ref;
  } else {
    auto got = arena_.allocate(
        size,
        {.align_bytes = static_cast<std::uint32_t>(std::min<std::size_t>(alignment, UINT32_MAX)),
         .tag = tag_});
    if (!got) throw std::bad_alloc();
    offset_bytes = got->offset_bytes();
    ref = got->release();
  }
  if (arena_.mode() != AttachMode::kPeer) {
    const std::lock_guard lock(mutex_);
    refs_[offset_bytes] = ref;
  }
  return arena_.writable_data().data() + offset_bytes;
}

void ArenaResource::do_deallocate(void* address, std::size_t, std::size_t) {
  Ref ref;
  if (arena_.mode() == AttachMode::kPeer) {
    const auto found = arena_.ref_at(address);
    if (!found) return;  // the session is over: the daemon has given the block back
    ref = *found;
  } else {
    const auto offset = static_cast<std::uint64_t>(static_cast<std::byte*>(address) -
                                                   arena_.writable_data().data());
    const std::lock_guard lock(mutex_);
    const auto found = refs_.find(offset);
    if (found == refs_.end()) return;
    ref = found->second;
    refs_.erase(found);
  }
  (void)arena_.try_free(ref);
}

}  // namespace arenad::client
