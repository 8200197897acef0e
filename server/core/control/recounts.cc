#include "server/core/control/recounts.h"

#include <vector>

namespace arenad::server {

void Recounts::start(SessionId session) {
  if (core_.shared.account.has_limit(session)) core_.thread.run(recount_alone(session));
}

void Recounts::start_for(SessionId session, ArenaId arena, ShardId shard, std::uint64_t ticket) {
  core_.thread.run(recount_for(session, arena, shard, ticket));
}

Task<> Recounts::recount_alone(SessionId session) {
  auto counted = recount(session);
  co_await counted;
}

Task<> Recounts::recount_for(SessionId session, ArenaId arena, ShardId shard,
                             std::uint64_t ticket) {
  auto counted = recount(session);
  const bool done = co_await counted;
  if (!done) co_return;
  Shard* const asking = &core_.shards[shard.value];
  asking->post([asking, arena, ticket] { asking->recounted(arena, ticket); });
}

Task<bool> Recounts::recount(SessionId session) {
  const SessionRecord* const record = core_.sessions.find(session);
  if (core_.thread.stopping() || record == nullptr || record->reaping) co_return false;
  if (!core_.shared.account.has_limit(session)) co_return true;
  std::vector<ArenaId> attached;
  for (const auto& [arena, mode] : record->attached) attached.push_back(arena);
  const Account::Recount recount = core_.shared.account.begin_recount(session);
  auto asked = core_.shards.broadcast([session](Shard& s) { return s.held_by_arena(session); });
  const std::vector<SharesByArena> by_shard = co_await asked;
  auto counted = core_.count_where_needed(core_.arenas_of(attached));
  const CensusResult census = co_await counted;

  std::int64_t bytes = 0;
  for (const SharesByArena& shares : by_shard)
    for (const auto& [arena, share] : shares)
      if (!census.contains(arena)) bytes += share.bytes;
  for (const auto& [arena, count] : census) bytes += count->charged_to(session);
  core_.shared.account.finish_recount(recount, bytes);
  co_return true;
}

}  // namespace arenad::server
