// The workloads of large blocks, and breathing, by peers. Beside each time they print how many gRPC
// calls an operation took, as Client::calls_made counts them.
//
// Threads: large_handoff and large_growth fork, so call it before this process speaks gRPC.
// Crash: the daemon gives back what the sessions held.
#pragma once

#include "tests/bench/peer_link.h"

namespace arenad::bench {

// False when the workload is none of these.
bool measure_peer_large(const PeerOptions& options, std::array<int, 2> cores);

}  // namespace arenad::bench
