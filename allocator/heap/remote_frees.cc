#include "allocator/heap/remote_frees.h"

#include <bit>

#include "allocator/arena/arena_view.h"

namespace arenad {

RemoteFrees::RemoteFrees(ArenaView& arena) : arena_(arena), by_owner_(arena.options().max_heaps) {}

void RemoteFrees::publish_entry(const RemoteGather::Entry& entry) {
  const HeapId owner = arena_.publish_returned(entry.key, entry.bits, false);
  // The owner's id comes from shared memory, so it may be any number.
  if (owner.value < by_owner_.size())
    by_owner_[owner.value] += static_cast<std::uint64_t>(std::popcount(entry.bits));
}

void RemoteFrees::publish() {
  gather_.take_all([this](const RemoteGather::Entry& e) { publish_entry(e); });
}

}  // namespace arenad
