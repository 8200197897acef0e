// A worker process of handoff, xmalloc and frames that is a peer.
//
// Purpose: PeerRings, which the processes of one run share, and the worker's body. The kernels run
//   over try_allocate and try_free. Refs travel through rings in shared memory. A producer of
//   frames writes each frame whole, with a stamp at each end. The consumer takes the frame over,
//   checks both stamps, and frees the frame.
// Invariants: ring i has one producer and one consumer. A worker closes its session after all
//   workers have ended, because blocks in a ring are held by the worker that allocated them.
// Threads: one PeerRings a run, mapped by every process. spsc_ring.h has the rules of the rings.
//   Any process changes `ended`.
// Crash: the daemon gives back what a killed process held. The others stop waiting after a
//   deadline.
#pragma once

#include <atomic>
#include <cstdint>

#include "client/load/kernels/spsc_ring.h"
#include "client/load/link.h"
#include "client/load/track.h"

namespace arenad::load {

struct PeerRings {
  std::atomic<std::uint32_t> ended;  // workers that have freed all their blocks
  SpscRing<std::uint64_t> rings[kMaxWorkers];
};

// The rings that a worker uses; -1: none in that direction.
struct PeerRole {
  std::uint32_t index = 0;
  std::uint32_t workers = 0;
  int in_ring = -1;
  int out_ring = -1;
  std::uint32_t frames = 0;  // the most frames that are out at once; 0: another workload
};

// Makes a memfd with one PeerRings, for children to inherit. Throws LoadError.
int make_rings();
// The body of a worker. It maps `rings_fd`, loads until the run is stopped, and waits for the
// others.
void run_peer_process(const Options& options, const Link& link, const PeerRole& role, int rings_fd,
                      Track& track, Shared& shared);

}  // namespace arenad::load
