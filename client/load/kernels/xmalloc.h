// xmalloc: every thread allocates, and frees the blocks of another thread.
//
// Purpose: the body of one thread in a circle of threads. Blocks go to the next thread and come
//   from the previous one. With two threads each frees the other's blocks. An operation is counted
//   when the block is freed.
// Invariants: no thread waits for another thread while a third one waits for it. When the way out
//   is full the thread frees first. Nothing is held after all bodies have returned.
// Threads: one context each; or processes with rings, progress and stop in shared memory.
// Crash: blocks in the rings stay held by the session that allocated them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "client/load/kernels/context.h"
#include "client/load/kernels/progress.h"
#include "client/load/kernels/spsc_ring.h"

namespace arenad::load {

inline constexpr std::size_t kXmallocBatch = 64;

template <AllocatorContext C, class Ring>
void exchange_blocks(C& context, Ring& to_next, Ring& from_previous, Progress& progress,
                     const Stop& stop, std::size_t block_bytes = kBlockBytes) {
  RingProducer<Ring> out(to_next);
  RingConsumer<Ring> in(from_previous);
  Backoff backoff;
  block_bytes = opaque(block_bytes);
  const auto free_some = [&] {
    const std::size_t count = in.consume(kXmallocBatch, [&](auto handle) { context.free(handle); });
    if (count == 0) return false;
    context.flush();
    progress.add(count);
    return true;
  };

  while (!stop.is_requested()) {
    bool pushed = true;
    for (std::size_t i = 0; i < kXmallocBatch && pushed; ++i) {
      const auto handle = context.allocate(block_bytes);
      pushed = out.try_push(handle);
      if (!pushed) context.free(handle);
    }
    if (free_some() || pushed)
      backoff.reset();
    else
      backoff.wait();
  }
  out.close();
  while (!in.finished())
    if (!free_some()) backoff.wait();
  context.flush();
}

}  // namespace arenad::load
