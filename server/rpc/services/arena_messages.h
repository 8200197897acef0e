// The messages of Arenas. Sessions uses arenad.v1.Arena, too.
//
// Threads: pure functions. Crash: nothing is shared.
#pragma once

#include "arenad/v1/arenas.pb.h"
#include "server/core/api/api.h"

namespace arenad::server {

// Errors: kInvalidOption (debug).
Answer<CreateArenaArgs> args_from(const v1::CreateArenaRequest& request);

void fill(v1::Arena& out, const ArenaFacts& facts);
void fill(v1::ListArenasResponse& out, const Page<ArenaFacts>& page);

}  // namespace arenad::server
