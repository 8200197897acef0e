#include "client/lib/thread_heaps.h"

#include "client/lib/fork_guard.h"
#include "client/lib/peer_pool.h"

namespace arenad::client {
namespace {

constinit thread_local bool thread_is_ending = false;

}  // namespace

ThreadHeaps* ThreadHeaps::mine() {
  if (thread_is_ending) return nullptr;
  static thread_local ThreadHeaps heaps;
  return &heaps;
}

ThreadHeaps::~ThreadHeaps() {
  thread_is_ending = true;
  if (forked()) return;
  peer_cache.clear();
  for (const Entry& e : entries_)
    if (const auto pool = e.pool.lock()) pool->thread_ended(*e.heap);
}

PeerHeap* ThreadHeaps::find(PoolId pool) const {
  for (const Entry& e : entries_)
    if (e.id == pool) return e.heap;
  return nullptr;
}

void ThreadHeaps::add(const std::shared_ptr<PeerPool>& pool, PeerHeap& heap) {
  std::erase_if(entries_, [](const Entry& e) { return e.pool.expired(); });
  entries_.push_back({pool->id(), pool, &heap});
}

}  // namespace arenad::client
