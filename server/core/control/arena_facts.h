// What the control plane says about one arena, put together from its parts.
//
// Threads: the control thread. Crash: nothing is shared.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "server/core/control/arena_registry.h"
#include "server/core/control/census.h"
#include "server/core/shard/shard_tables.h"

namespace arenad::server {

// A page of ListArenas and of ListSessions has at most this many items.
inline constexpr std::uint32_t kMaxPage = 1000;

// "arena 'x' does not exist: ..."
Failure unknown_arena(const std::string& name);

// "uid 7 (pid 8) may not delete arena 'x' (owner 1000, group 1000, mode 0660): ..."
Failure not_permitted(const Principal& caller, const ArenaRecord& record, std::string_view what);

// `held` is the sum of what the shards counted. Where the census has the arena, the census wins.
ArenaFacts arena_facts(const ArenaRecord& record, const HeldShare& held,
                       const CensusResult& census);

// What is held in the arena: the census where it has the arena, else what the shards counted less
// what the reaper took, which shards do not see.
HeldShare held_in(const ArenaRecord& record, const HeldShare& counted_by_shards,
                  const CensusResult& census);

HeldShare sum_of(const std::vector<HeldShare>& shares);

// Sums of counts that move while they are read may be a little below 0. Nobody is shown that.
inline std::uint64_t not_negative(std::int64_t value) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(value, 0));
}

}  // namespace arenad::server
