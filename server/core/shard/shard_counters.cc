#include "server/core/shard/shard_counters.h"

#include <algorithm>

namespace arenad::server {

ShardCounters::ShardCounters(ShardId shard, std::uint32_t shard_count, ShardTables& tables)
    : shard_(shard), shard_count_(shard_count), tables_(tables) {
  retired_.remote_frees_to.resize(shard_count);
}

void ShardCounters::add(const Heap& heap, ShardFacts& facts) const {
  facts.heap += heap.counters();
  const std::vector<std::uint64_t>& to = heap.remote_frees_to();
  for (std::size_t i = 0; i < std::min<std::size_t>(to.size(), shard_count_); ++i)
    facts.remote_frees_to[i] += to[i];
}

ShardFacts ShardCounters::facts(ArenaId scope, std::uint64_t idle_drains) const {
  ShardFacts facts;
  facts.remote_frees_to.resize(shard_count_);
  if (scope == kAllArenas) facts = retired_;
  tables_.for_arenas(scope, [&](const ArenaSlot& slot) { add(slot.heap, facts); });
  facts.shard = shard_;
  facts.calls = calls_;
  facts.loop_turns = turns_;
  facts.inbox_messages = messages_;
  facts.idle_drains = idle_drains;
  return facts;
}

UsageByArena ShardCounters::usage(ArenaId scope) const {
  UsageByArena rows;
  tables_.for_arenas(scope, [&rows](const ArenaSlot& slot) {
    for (const ClassUsage& usage : slot.heap.usage()) rows.emplace_back(slot.id, usage);
  });
  return rows;
}

HeldShare ShardCounters::held(ArenaId scope) const {
  HeldShare sum;
  tables_.for_arenas(scope, [&sum](const ArenaSlot& slot) {
    if (!slot.counts_from_words()) sum += slot.held;
  });
  return sum;
}

SharesBySession ShardCounters::held_by_session(ArenaId arena_id) const {
  SharesBySession shares;
  tables_.for_attached(arena_id, [&shares](SessionId session, const Attached& attached) {
    shares.emplace_back(session, attached.held);
  });
  return shares;
}

SharesByArena ShardCounters::held_by_arena(SessionId session_id) const {
  SharesByArena shares;
  if (const SessionSlot* session = tables_.session(session_id))
    for (const Attached& a : session->attached) shares.emplace_back(a.arena, a.held);
  return shares;
}

}  // namespace arenad::server
