// ThreadHeaps: the heaps that a thread has, in all pools. Private.
//
// Purpose: find the thread's heap of a pool when the PeerCache does not have it, and give the heaps
//   back to their pools when the thread ends.
// Threads: each thread has its own. fork: does nothing in a child. Crash: private memory.
#pragma once

#include <memory>
#include <vector>

#include "arenad/peer_cache.h"

namespace arenad::client {

class PeerPool;

class ThreadHeaps {
 public:
  // Of the calling thread. Null while the thread ends: destructors of other thread_local objects
  // may still free blocks.
  static ThreadHeaps* mine();

  ThreadHeaps() = default;
  ThreadHeaps(const ThreadHeaps&) = delete;
  ThreadHeaps& operator=(const ThreadHeaps&) = delete;
  ~ThreadHeaps();

  PeerHeap* find(PoolId pool) const;  // or null
  void add(const std::shared_ptr<PeerPool>& pool, PeerHeap& heap);

 private:
  struct Entry {
    PoolId id;
    std::weak_ptr<PeerPool> pool;
    PeerHeap* heap;
  };
  std::vector<Entry> entries_;
};

}  // namespace arenad::client
