// arenad.v1.Arena from the engine's facts. The services Arenas and Sessions both use it.
//
// Threads: pure functions. Crash: nothing is shared.
#pragma once

#include "arenad/v1/arenas.pb.h"
#include "server/core/api/api.h"

namespace arenad::server {

void fill(v1::Arena& out, const ArenaFacts& facts);

}  // namespace arenad::server
