#include "server/core/control/admin_facts.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "server/core/api/clock.h"
#include "server/core/control/arena_facts.h"
#include "server/core/control/session_ends.h"

namespace arenad::server {
namespace {

constexpr std::size_t kDefaultHolders = 100;

}  // namespace

AdminFacts::AdminFacts(ControlCore& core, const SessionEnds& ends)
    : core_(core), ends_(ends), tunables_(core.shared.tunables), started_ns_(now_ns()) {}

std::uint64_t AdminFacts::uptime_ms() const { return (now_ns() - started_ns_) / kNsPerMs; }

Task<Answer<DaemonStats>> AdminFacts::stats(Caller caller, std::string arena) {
  const auto scope = core_.scope_of(*caller, arena);
  if (!scope.ok()) co_return scope.error();
  const ArenaId id = *scope;
  struct Facts {
    ShardFacts shard;
    HeldShare held;
  };
  auto asked = core_.shards.broadcast([id](Shard& shard) {
    return Facts{shard.facts(id), shard.held(id)};
  });
  const std::vector<Facts> facts = co_await asked;
  auto counted = core_.count_where_needed(core_.arenas_in(id));
  const CensusResult census = co_await counted;

  DaemonStats stats;
  HeldShare held;
  for (const Facts& f : facts) {
    stats.shards.push_back(f.shard);
    held += f.held;
  }
  add_arenas(stats, id, held, census);
  stats.sessions = core_.sessions.all().size();
  stats.sessions_reaped = ends_.reaped();
  stats.reserved_bytes = core_.shared.memory.reserved_bytes();
  stats.set_aside_bytes = core_.shared.memory.set_aside_bytes();
  stats.uptime_ms = uptime_ms();
  co_return stats;
}

// `held`: what the shards counted, in arenas that the census does not have.
void AdminFacts::add_arenas(DaemonStats& stats, ArenaId scope, HeldShare held,
                            const CensusResult& census) {
  for (const auto& [name, record] : core_.arenas.all()) {
    if (scope != kAllArenas && record.id() != scope) continue;
    ++stats.arenas;
    stats.committed_bytes += record.state->arena->committed_bytes();
    stats.capacity_bytes += record.state->arena->capacity_bytes();
    held += held_in(record, HeldShare(), census);
    if (const auto counted = census.find(record.id()); counted != census.end()) {
      const HeldShare leases = counted->second->lease_sum();
      stats.leased_slabs += not_negative(leases.blocks);
      stats.leased_bytes += not_negative(leases.bytes);
    }
  }
  stats.held_blocks = not_negative(held.blocks);
  stats.held_bytes = not_negative(held.bytes);
}

Task<Answer<std::vector<SlabInfoRow>>> AdminFacts::slab_info(Caller caller, std::string arena) {
  const auto scope = core_.scope_of(*caller, arena);
  if (!scope.ok()) co_return scope.error();
  const ArenaId id = *scope;
  auto asked = core_.shards.broadcast([id](Shard& shard) { return shard.usage(id); });
  const std::vector<std::vector<std::pair<ArenaId, ClassUsage>>> by_shard = co_await asked;
  auto counted = core_.count_where_needed(core_.arenas_in(id));
  const CensusResult census = co_await counted;

  std::vector<SlabInfoRow> rows;
  for (std::size_t i = 0; i < by_shard.size(); ++i)
    for (const auto& [of, usage] : by_shard[i])
      add_slab_row(*caller, rows, of, false, core_.shards[i].index(), usage);
  for (const auto& [of, count] : census)
    for (const ClassUsage& usage : count->leased)
      add_slab_row(*caller, rows, of, true, ShardId{}, usage);
  std::stable_sort(rows.begin(), rows.end(), [](const SlabInfoRow& a, const SlabInfoRow& b) {
    return std::tie(a.arena, a.usage.cls, a.peers, a.shard) <
           std::tie(b.arena, b.usage.cls, b.peers, b.shard);
  });
  co_return rows;
}

void AdminFacts::add_slab_row(const Principal& caller, std::vector<SlabInfoRow>& rows,
                              ArenaId arena, bool peers, ShardId shard, const ClassUsage& usage) {
  const ArenaRecord* const record = core_.arenas.find(arena);
  if (record == nullptr || !caller.may_read(record->access)) return;  // or deleted meanwhile
  SlabInfoRow row;
  row.arena = record->name();
  row.peers = peers;
  row.shard = shard;
  row.usage = usage;
  if (usage.cls == kSpanClass) {  // spans have no size in common: the row has their sum
    row.blocks_per_slab = 1;
    row.slab_bytes = usage.slab_bytes;
  } else {
    const RunShape slab = record->state->arena->geometry().slab_shape(usage.cls);
    row.usable_bytes = slab.usable_bytes;
    row.stride_bytes = slab.stride_bytes;
    row.blocks_per_slab = slab.capacity;
    row.slab_bytes = slab.bytes();
  }
  rows.push_back(std::move(row));
}

Task<Answer<Holders>> AdminFacts::holders(Caller caller, std::string arena, std::uint32_t limit) {
  const auto scope = core_.scope_of(*caller, arena);
  if (!scope.ok()) co_return scope.error();
  auto counted = core_.count_words(core_.arenas_in(*scope));
  const CensusResult census = co_await counted;
  co_return holders_of(*caller, census, limit == 0 ? kDefaultHolders : limit);
}

Holders AdminFacts::holders_of(const Principal& caller, const CensusResult& census,
                               std::size_t most) const {
  std::map<Holder, HeldShare> all;
  Holders holders;
  for (const auto& [id, count] : census) {
    for (const auto& [holder, share] : count->by_holder) all[holder] += share;
    if (!caller.is_admin) continue;
    holders.total_blocks += not_negative(count->held.blocks);
    holders.total_bytes += not_negative(count->held.bytes);
  }
  for (const auto& [holder, share] : all) {
    const SessionRecord* const session = core_.sessions.find(holder.session());
    if (!caller.is_admin) {
      if (session == nullptr || !session->belongs_to(caller)) continue;
      holders.total_blocks += not_negative(share.blocks);
      holders.total_bytes += not_negative(share.bytes);
    }
    HolderRow row;
    row.session = holder.session();
    row.session_name = core_.sessions.name_of(row.session);
    row.tag = holder.tag();
    row.blocks = not_negative(share.blocks);
    row.bytes = not_negative(share.bytes);
    holders.rows.push_back(std::move(row));
  }
  std::stable_sort(holders.rows.begin(), holders.rows.end(),
                   [](const HolderRow& a, const HolderRow& b) { return a.bytes > b.bytes; });
  if (holders.rows.size() > most) holders.rows.resize(most);
  return holders;
}

Task<Answer<std::vector<TunableFacts>>> AdminFacts::set_tunables(
    Caller caller, std::vector<std::pair<std::string, std::string>> values) {
  if (Failure failure = core_.must_be_admin(*caller, "SetTunables"); failure.error != Error::kNone)
    co_return failure;
  if (const auto set = tunables_.set(values); !set.ok()) co_return set.error();
  for (const auto& [name, value] : values)
    core_.log(LogLevel::kInfo, fmt::format("{} is set to {} by {}", name, value, caller->text()));
  core_.maintenance.kick();
  auto told = core_.shards.broadcast([](Shard& shard) { shard.retime(); });
  co_await told;
  co_return tunables();
}

}  // namespace arenad::server
