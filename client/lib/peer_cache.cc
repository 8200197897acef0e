#include "arenad/peer_cache.h"

#include "client/lib/peer_heap.h"

namespace arenad::client {

constinit thread_local PeerCache peer_cache;

PeerHeap* PeerCache::find(PoolId pool) const {
  const Entry& e = entries_[pool.value % kEntries];
  return e.pool == pool ? e.heap : nullptr;
}

EnteredHeap PeerCache::enter_slow(PoolId pool) {
  leave();
  PeerHeap* const heap = find(pool);
  if (heap == nullptr) return {};
  bring_to_front(pool, *heap);
  if (!heap->enter()) return {};
  return {heap->heap_, *heap};
}

void PeerCache::put(PoolId pool, PeerHeap& heap) {
  entries_[pool.value % kEntries] = {pool, &heap};
  bring_to_front(pool, heap);
}

// Pairs with PeerHeap::send_owner_out. That function stores wanted_ and then empties front_. This
// one stores front_ and then loads wanted_. All four are seq_cst. So either the other thread finds
// this front_ and empties it, or this thread sees wanted_ and leaves the fast way closed.
void PeerCache::bring_to_front(PoolId pool, PeerHeap& heap) {
  heap.used_.store(true, std::memory_order_relaxed);  // a hint
  front_heap_ = &heap.heap_;
  front_facts_ = &heap;
  front_.store(pool.value, std::memory_order_seq_cst);
  if (heap.wanted_.load(std::memory_order_seq_cst) != 0)
    front_.store(kNone, std::memory_order_relaxed);  // read by this thread alone
}

void PeerCache::clear() {
  front_.store(kNone, std::memory_order_relaxed);  // as above
  front_heap_ = nullptr;
  front_facts_ = nullptr;
  for (Entry& e : entries_) e = {};
}

}  // namespace arenad::client
