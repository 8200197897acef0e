// Who uses a full arena, for the message to those that find no room.
//
// Threads: the control thread. Crash: nothing is shared.
#pragma once

#include <vector>

#include "server/core/control/arena_registry.h"
#include "server/core/control/census.h"
#include "server/core/control/session_registry.h"
#include "server/core/shard/shard_tables.h"

namespace arenad::server {

// `arena` may be null: it was deleted. `by_shard` is what each shard counted; where the census has
// the arena, the census wins.
UsageSummary summarize_usage(const ArenaRecord* arena, const std::vector<SharesBySession>& by_shard,
                             const CensusResult& census, const SessionRegistry& sessions);

}  // namespace arenad::server
