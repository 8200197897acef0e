#include "server/core/control/recounts.h"

#include <set>

namespace arenad::server {

void Recounts::start(SessionId session) {
  if (core_.shared.account.counts(session)) core_.thread.run(recount_alone(session));
}

void Recounts::start_for(Error why, SessionId session, ArenaId arena, ShardId shard,
                         std::uint64_t ticket) {
  core_.thread.run(recount_for(why, session, arena, shard, ticket));
}

Task<> Recounts::recount_alone(SessionId session) {
  auto counted = recount(session);
  co_await counted;
}

Task<> Recounts::recount_for(Error why, SessionId session, ArenaId arena, ShardId shard,
                             std::uint64_t ticket) {
  if (core_.thread.stopping() || !lives(session)) co_return;
  auto counted =
      recount_all(why == Error::kQuotaUser ? sessions_of(core_.sessions.find(session)->owner->uid)
                                           : std::vector<SessionId>{session});
  co_await counted;
  if (!lives(session)) co_return;
  Shard* const asking = &core_.shards[shard.value];
  asking->post([asking, arena, ticket] { asking->recounted(arena, ticket); });
}

Task<bool> Recounts::recount(SessionId session) {
  if (core_.thread.stopping() || !lives(session)) co_return false;
  auto counted = recount_all({session});
  co_await counted;
  co_return lives(session);
}

bool Recounts::lives(SessionId session) {
  const SessionRecord* const record = core_.sessions.find(session);
  return record != nullptr && !record->reaping;
}

std::vector<SessionId> Recounts::sessions_of(std::uint32_t uid) {
  std::vector<SessionId> sessions;
  for (const auto& [id, record] : core_.sessions.all())
    if (record.owner->uid == uid && lives(id)) sessions.push_back(id);
  return sessions;
}

Task<> Recounts::recount_all(std::vector<SessionId> sessions) {
  Account& account = core_.shared.account;
  std::erase_if(sessions, [&account](SessionId id) { return !account.counts(id); });
  std::set<ArenaId> all;
  std::vector<std::vector<ArenaId>> attached;  // words elsewhere that name a session are forged
  std::vector<Account::Recount> recounts;
  for (const SessionId id : sessions) {
    std::vector<ArenaId>& arenas = attached.emplace_back();
    for (const auto& [arena, mode] : core_.sessions.find(id)->attached) arenas.push_back(arena);
    all.insert(arenas.begin(), arenas.end());
    recounts.push_back(account.begin_recount(id));
  }
  if (sessions.empty()) co_return;
  auto asked = core_.shards.broadcast([sessions](Shard& shard) {
    std::vector<SharesByArena> shares;
    for (const SessionId id : sessions) shares.push_back(shard.held_by_arena(id));
    return shares;
  });
  const std::vector<std::vector<SharesByArena>> by_shard = co_await asked;
  auto counted = core_.count_where_needed(core_.arenas_of({all.begin(), all.end()}));
  const CensusResult census = co_await counted;

  for (std::size_t i = 0; i < sessions.size(); ++i) {
    // The end of a session ends its account, too.
    if (!lives(sessions[i])) continue;
    std::int64_t bytes = 0;
    for (const std::vector<SharesByArena>& shares : by_shard)
      for (const auto& [arena, share] : shares[i])
        if (!census.contains(arena)) bytes += share.bytes;
    for (const ArenaId arena : attached[i])
      if (const auto count = census.find(arena); count != census.end())
        bytes += count->second->charged_to(sessions[i]);
    account.finish_recount(recounts[i], bytes);
  }
}

}  // namespace arenad::server
