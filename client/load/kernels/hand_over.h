// hand-over: a producer allocates large blocks and passes each block on at once. The consumer takes
// each block over and frees it.
//
// Purpose: the two bodies. They differ from producer_consumer.h in three ways. Few blocks are out
//   at once, because blocks are large. Each ref is sent by itself, as a camera sends each frame.
//   The consumer becomes the holder before it frees.
// Invariants: at most `window` blocks are in the ring or with the consumer. Nothing is held after
//   both bodies have returned.
// Threads: one for each body, each with its own context; or two processes with ring, progress and
//   stop in shared memory.
// Crash: a block in the ring stays held by the producer until the consumer has taken it over.
#pragma once

#include <cstddef>
#include <cstdint>

#include "client/load/kernels/context.h"
#include "client/load/kernels/progress.h"
#include "client/load/kernels/spsc_ring.h"

namespace arenad::load {

inline constexpr std::size_t kHandOverGroup = 16;  // blocks that the consumer takes before it looks

// Allocates blocks, calls write(handle, data) and passes them on, until stop is requested. Then
// closes the ring. `window` is at most the ring's capacity.
template <LargeContext C, class Ring, class Write>
void hand_over(C& context, Ring& ring, const Stop& stop, std::size_t block_bytes,
               std::uint32_t window, Write write) {
  RingProducer<Ring> out(ring);
  Backoff backoff;
  block_bytes = opaque(block_bytes);
  while (!stop.is_requested()) {
    if (!out.has_room(window)) {
      backoff.wait();
      continue;
    }
    backoff.reset();
    const auto block = context.allocate_placed(block_bytes);
    write(block.handle, block.data);
    out.try_push(block.handle);  // there is room
    out.publish();
  }
  context.flush();
  out.close();
}

// Takes over the blocks that come, calls check(handle, data) and frees them, until the ring is
// closed and empty.
template <LargeContext C, class Ring, class Check>
void take_over(C& context, Ring& ring, Progress& progress, Check check) {
  RingConsumer<Ring> in(ring);
  Backoff backoff;
  for (;;) {
    const std::size_t count = in.consume(kHandOverGroup, [&](auto handle) {
      check(handle, context.take_over(handle));
      context.free(handle);
    });
    if (count != 0) {
      context.flush();
      backoff.reset();
      progress.add(count);
    } else if (in.finished()) {
      break;
    } else {
      backoff.wait();
    }
  }
}

}  // namespace arenad::load
