// producer -> consumer: one thread allocates and the other frees, so every free is remote.
//
// Purpose: the two bodies. The consumer counts an operation when it frees the block.
// Invariants: nothing is held after both bodies have returned. The consumer flushes after
//   kFlushEvery frees. It also flushes when nothing came for kIdlePolls polls, as a program that
//   goes idle would.
// Threads: one for each body, each with its own context; or two processes with ring, progress and
//   stop in shared memory.
// Crash: blocks in the ring stay held by the producer.
#pragma once

#include <cstddef>
#include <cstdint>

#include "client/load/kernels/context.h"
#include "client/load/kernels/progress.h"
#include "client/load/kernels/spsc_ring.h"

namespace arenad::load {

inline constexpr std::size_t kFlushEvery = 256;
inline constexpr std::uint32_t kIdlePolls = 64;

// Allocates blocks and pushes them until stop is requested, then closes the ring.
template <AllocatorContext C, class Ring>
void produce(C& context, Ring& ring, const Stop& stop, std::size_t block_bytes = kBlockBytes) {
  RingProducer<Ring> out(ring);
  Backoff backoff;
  block_bytes = opaque(block_bytes);
  while (!stop.is_requested()) {
    for (int i = 0; i < 64; ++i) {
      const auto handle = context.allocate(block_bytes);
      while (!out.try_push(handle)) {
        if (stop.is_requested()) {  // the consumer may be gone
          context.free(handle);
          context.flush();
          out.close();
          return;
        }
        backoff.wait();
      }
    }
  }
  context.flush();
  out.close();
}

// Frees the blocks that come, until the ring is closed and empty.
template <AllocatorContext C, class Ring>
void consume(C& context, Ring& ring, Progress& progress) {
  RingConsumer<Ring> in(ring);
  Backoff backoff;
  std::size_t unflushed = 0;
  for (;;) {
    const std::size_t count = in.consume(64, [&](auto handle) { context.free(handle); });
    if (count == 0) {
      if (backoff.spins() == kIdlePolls) {
        context.flush();
        unflushed = 0;
      }
      if (in.finished()) break;
      backoff.wait();
      continue;
    }
    backoff.reset();
    progress.add(count);
    unflushed += count;
    if (unflushed >= kFlushEvery) {
      context.flush();
      unflushed = 0;
    }
  }
  context.flush();
}

}  // namespace arenad::load
