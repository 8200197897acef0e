// A worker process of handoff and xmalloc that is a peer: the kernels over try_allocate and
// try_free, refs through rings in memory.
//
// Purpose: PeerRings, what the processes of one run share; the worker's body.
// Invariants: ring i has one producer and one consumer. Nobody closes its session before all have
// ended, for what lies in a ring is
//   held by who allocated it.
// Threads: one PeerRings a run, mapped by every process; rings as spsc_ring.h says, `ended` by
// anybody. Crash: what a killed process held is given back by the daemon; the others stop waiting
// for it after a deadline.
#pragma once

#include <atomic>
#include <cstdint>

#include "client/load/kernels/spsc_ring.h"
#include "client/load/link.h"
#include "client/load/track.h"

namespace arenad::load {

struct PeerRings {
  std::atomic<std::uint32_t> ended;  // workers that have freed all they will
  SpscRing<std::uint64_t> rings[kMaxWorkers];
};

// Which rings a worker uses; -1: none of that direction.
struct PeerRole {
  std::uint32_t index = 0;
  std::uint32_t workers = 0;
  int in_ring = -1;
  int out_ring = -1;
};

// A memfd with one PeerRings, to be inherited. Throws LoadError.
int make_rings();
// The body of a worker: maps `rings_fd`, loads until the run is stopped, waits for the others.
void run_peer_process(const Options& options, const Link& link, const PeerRole& role, int rings_fd,
                      Track& track, Shared& shared);

}  // namespace arenad::load
