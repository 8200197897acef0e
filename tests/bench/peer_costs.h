// What peers cost beside nanoseconds: growing, being reaped, and metadata.
//
// Threads: one. Crash: see each.
#pragma once

#include "tests/bench/peer_link.h"

namespace arenad::bench {

// From nothing to 1 GiB of 256 B blocks, each first byte written, calls included: `growth`, ns per
// block; and what committing (fallocate) and first touching a fresh memfd of that size in the same
// steps costs: `growth_floor`. In turn, the floor first.
void measure_growth(const PeerOptions& options);

// A process that holds 1,000,000 (or 1,000) blocks of 256 B in a 1 GiB arena is killed: ms from its
// death to an audit that is exact and shows nothing held. `reap_1000000`, `reap_1000`. Forks before
// it speaks gRPC.
void measure_reap(const PeerOptions& options);

// An arena full of blocks of one size: resident bytes of its control memory, in percent of the
// blocks' bytes. `metadata_256` ... Wants the daemon's pid, whose descriptors it looks at.
void measure_metadata(const PeerOptions& options);

}  // namespace arenad::bench
