// Facts, audit and tunables.
#include <algorithm>

#include "server/core/api/clock.h"
#include "server/core/api/text.h"
#include "server/core/control/control.h"

namespace arenad::server {
namespace {

constexpr std::uint32_t kDefaultHolders = 100;
// A shard that is alive arrives within one turn of its loop; this is for one that is not.
constexpr std::uint64_t kArriveWithinMs = 5000;

}  // namespace

void Control::get_stats(std::string arena, Done<DaemonStats> done) {
  call<DaemonStats>(std::move(done), [this, arena = std::move(arena)](Done<DaemonStats> done) {
    const auto scope = scope_of(arena);
    if (!scope.ok()) return done(scope.error());
    struct Facts {
      ShardFacts shard;
      HeldShare held;
    };
    round<Facts>(
        [id = *scope](Shard& shard) {
          return Facts{shard.facts(id), shard.held(id)};
        },
        [this, scope = *scope, done = std::move(done)](std::vector<Facts> facts) {
          DaemonStats stats;
          HeldShare held;
          for (Facts& f : facts) {
            stats.shards.push_back(std::move(f.shard));
            held += f.held;
          }
          with_census({scope}, [this, scope, done, stats = std::move(stats),
                                held](CensusResult census) mutable {
            add_arena_stats(stats, scope, held, census);
            done(std::move(stats));
          });
        });
  });
}

void Control::add_arena_stats(DaemonStats& stats, ArenaId scope, HeldShare held,
                              const CensusResult& census) {
  for (const auto& [name, record] : arenas_.all()) {
    if (scope != kAllArenas && record.id() != scope) continue;
    ++stats.arenas;
    stats.committed_bytes += record.state->arena->committed_bytes();
    stats.capacity_bytes += record.state->arena->capacity_bytes();
    if (const auto counted = census.find(record.id()); counted != census.end()) {
      const HeldShare leases = counted->second->lease_sum();
      held += counted->second->held;
      stats.leased_slabs += static_cast<std::uint64_t>(leases.blocks);
      stats.leased_bytes += static_cast<std::uint64_t>(leases.bytes);
    } else {
      held.add(-static_cast<std::int64_t>(record.reaped.blocks),
               -static_cast<std::int64_t>(record.reaped.bytes));
    }
  }
  stats.sessions = sessions_.all().size();
  stats.sessions_reaped = sessions_reaped_;
  stats.held_blocks = static_cast<std::uint64_t>(std::max<std::int64_t>(held.blocks, 0));
  stats.held_bytes = static_cast<std::uint64_t>(std::max<std::int64_t>(held.bytes, 0));
  stats.uptime_ms = uptime_ms();
}

void Control::slab_info(std::string arena, Done<std::vector<SlabInfoRow>> done) {
  call<std::vector<SlabInfoRow>>(std::move(done), [this, arena = std::move(arena)](
                                                      Done<std::vector<SlabInfoRow>> done) {
    const auto scope = scope_of(arena);
    if (!scope.ok()) return done(scope.error());
    using Usage = std::vector<std::pair<ArenaId, ClassUsage>>;
    round<Usage>(
        [id = *scope](Shard& shard) { return shard.usage(id); },
        [this, scope = *scope, done = std::move(done)](std::vector<Usage> by_shard) {
          with_census({scope}, [this, done, by_shard = std::move(by_shard)](CensusResult census) {
            std::vector<SlabInfoRow> rows;
            for (std::size_t i = 0; i < by_shard.size(); ++i)
              for (const auto& [arena_id, usage] : by_shard[i])
                add_slab_row(rows, arena_id, false, {static_cast<std::uint16_t>(i)}, usage);
            for (const auto& [arena_id, arena] : census)
              for (const ClassUsage& usage : arena->leased)
                add_slab_row(rows, arena_id, true, {}, usage);
            std::stable_sort(rows.begin(), rows.end(),
                             [](const SlabInfoRow& a, const SlabInfoRow& b) {
                               return std::tie(a.arena, a.usage.cls, a.peers, a.shard) <
                                      std::tie(b.arena, b.usage.cls, b.peers, b.shard);
                             });
            done(std::move(rows));
          });
        });
  });
}

void Control::add_slab_row(std::vector<SlabInfoRow>& rows, ArenaId arena_id, bool peers,
                           ShardId shard, const ClassUsage& usage) {
  const ArenaRecord* record = arenas_.find(arena_id);
  if (record == nullptr) return;  // deleted in the meantime
  SlabInfoRow row;
  row.arena = record->name();
  row.peers = peers;
  row.shard = shard;
  row.usage = usage;
  if (usage.cls == kSpanClass) {  // spans have no size of their own: the sum of them
    row.blocks_per_slab = 1;
    row.slab_bytes = usage.slab_bytes;
  } else {
    const SizeClass& cls = record->state->arena->geometry().size_class(usage.cls);
    row.usable_bytes = cls.usable_bytes;
    row.stride_bytes = cls.stride_bytes;
    row.blocks_per_slab = cls.capacity;
    row.slab_bytes = cls.slab_units * kSlabUnitBytes;
  }
  rows.push_back(std::move(row));
}

void Control::list_holders(std::string arena, std::uint32_t limit, Done<Holders> done) {
  call<Holders>(std::move(done), [this, arena = std::move(arena), limit](Done<Holders> done) {
    const auto scope = scope_of(arena);
    if (!scope.ok()) return done(scope.error());
    std::vector<std::shared_ptr<ArenaState>> arenas;
    for (const auto& [name, record] : arenas_.all())
      if (*scope == kAllArenas || record.id() == *scope) arenas.push_back(record.state);
    count_words(std::move(arenas), [this, limit, done = std::move(done)](CensusResult census) {
      done(holders_of(census, limit));
    });
  });
}

Holders Control::holders_of(const CensusResult& census, std::uint32_t limit) {
  std::map<std::uint64_t, HeldShare> all;
  Holders holders;
  for (const auto& [arena_id, arena] : census) {
    for (const auto& [key, share] : arena->by_holder) all[key] += share;
    holders.total_blocks += static_cast<std::uint64_t>(arena->held.blocks);
    holders.total_bytes += static_cast<std::uint64_t>(arena->held.bytes);
  }
  for (const auto& [key, share] : all) {
    HolderRow row;
    row.session = session_of(key);
    row.session_name = sessions_.name_of(row.session);
    row.tag = static_cast<std::uint32_t>(key);
    row.blocks = static_cast<std::uint64_t>(share.blocks);
    row.bytes = static_cast<std::uint64_t>(share.bytes);
    holders.rows.push_back(std::move(row));
  }
  std::stable_sort(holders.rows.begin(), holders.rows.end(),
                   [](const HolderRow& a, const HolderRow& b) { return a.bytes > b.bytes; });
  const std::size_t most = limit == 0 ? kDefaultHolders : limit;
  if (holders.rows.size() > most) holders.rows.resize(most);
  return holders;
}

// ---- audit
// ---------------------------------------------------------------------------------------------------------------

void Control::audit(std::string arena, Done<AuditResult> done) {
  call<AuditResult>(std::move(done), [this, arena = std::move(arena)](Done<AuditResult> done) {
    const auto scope = scope_of(arena);
    if (!scope.ok()) return done(scope.error());
    // All publish, then all drain, so that what was freed is home when the shards stand still.
    visit_all([](Shard& shard) { shard.publish(); },
              [this, arena, scope = *scope, done = std::move(done)] {
                visit_all([scope](Shard& shard) { shard.drain(scope); },
                          [this, arena, scope, done] {
                            if (const auto still = scope_of(arena);
                                !still.ok() || *still != scope) {
                              return done(refuse(Error::kUnknownArena, "arena '", arena,
                                                 "' was deleted before its audit"));
                            }
                            start_standstill(scope, done);
                          });
              });
  });
}

void Control::start_standstill(ArenaId scope, Done<AuditResult> done) {
  // The arenas that there are now: a deletion from here on reaches each shard after the round.
  std::vector<QuietArena> arenas;
  for (const auto& [name, record] : arenas_.all())
    if (scope == kAllArenas || record.id() == scope)
      arenas.push_back({record.state, record.sessions});
  auto quiet = std::make_shared<Standstill>(static_cast<std::uint32_t>(shards_.size()),
                                            std::move(arenas), kArriveWithinMs);
  ++quiet_;
  maintenance_.pause();
  round<ShardFacts>(
      [quiet, scope](Shard& shard) {
        shard.take_part(*quiet);
        return shard.facts(scope);
      },
      [this, quiet, done = std::move(done)](std::vector<ShardFacts> facts) {
        maintenance_.resume();
        if (--quiet_ == 0) {
          const auto deferred = std::exchange(after_quiet_, {});
          for (const auto& f : deferred) f();
        }
        if (!quiet->complete()) {
          return done(refuse(Error::kInternal, "a shard did not stand still within ",
                             kArriveWithinMs, " ms, there is no audit"));
        }
        AuditResult result;
        for (std::size_t i = 0; i < quiet->arenas().size(); ++i) {
          AuditedArena audited;
          audited.arena = quiet->arenas()[i].state->arena->options().name;
          audited.report = std::move(quiet->report(i));
          audited.scan_us = quiet->quiet_ns() / 1000;
          result.exact = result.exact && audited.report.exact();
          for (const std::string& finding : audited.report.findings)
            log_(concat("audit of '", audited.arena, "': ", finding));
          ArenaState& state = *quiet->arenas()[i].state;
          bool stops = state.check_files();
          if (!audited.report.exact() && !state.arena->quarantined()) {
            // Words that no protocol leaves: the next allocation may be somebody's block. See
            // README.md "Quarantine".
            state.arena->quarantine(concat("an audit found: ", audited.report.findings.front()));
            stops = true;
          }
          if (stops)
            log_(concat("arena '", audited.arena,
                        "' is quarantined: ", state.arena->quarantine_reason()));
          result.arenas.push_back(std::move(audited));
        }
        for (const ShardFacts& f : facts) {
          result.p0_counter_ok += f.heap.p0_counter_ok;
          result.p0_counter_mismatch += f.heap.p0_counter_mismatch;
        }
        done(std::move(result));
      });
}

void Control::when_not_quiet(std::function<void()> f) {
  if (quiet_ == 0) return f();
  after_quiet_.push_back(std::move(f));
}

// ---- tunables
// ------------------------------------------------------------------------------------------------------------

void Control::get_tunables(Done<std::vector<TunableFacts>> done) {
  call<std::vector<TunableFacts>>(
      std::move(done), [this](Done<std::vector<TunableFacts>> done) { done(tunables_.get()); });
}

void Control::set_tunables(std::vector<std::pair<std::string, std::string>> values,
                           Done<std::vector<TunableFacts>> done) {
  call<std::vector<TunableFacts>>(
      std::move(done), [this, values = std::move(values)](Done<std::vector<TunableFacts>> done) {
        if (auto set = tunables_.set(values); !set.ok()) return done(set.error());
        maintenance_.kick();
        visit_all([](Shard& shard) { shard.retime(); },
                  [this, done = std::move(done)] { done(tunables_.get()); });
      });
}

}  // namespace arenad::server
