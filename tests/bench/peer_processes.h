// Two peers, each a process, that are measured from outside.
//
// Threads: as processes.h. Crash: the daemon gives back what the sessions held.
#pragma once

#include <array>
#include <functional>

#include "tests/bench/peer_link.h"
#include "tests/bench/processes.h"

namespace arenad::bench {

using PeerBody = std::function<void(load::PeerContext&, Board&, int me)>;

// Each process is a peer of the arena "bench", and runs `body` on its core. The sessions close when
// both bodies have returned; then nothing may be held.
TwoProcesses measure_peers(const PeerOptions& options, const PeerBody& body,
                           std::array<int, 2> cores, const load::MeasureFor& times);

}  // namespace arenad::bench
