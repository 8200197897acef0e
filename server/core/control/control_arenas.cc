// Arenas: create, look at, list, delete.
#include <algorithm>

#include "server/core/api/text.h"
#include "server/core/control/control.h"

namespace arenad::server {
namespace {

constexpr std::uint32_t kMaxPage = 1000;

std::uint64_t not_negative(std::int64_t value) {
  return value < 0 ? 0 : static_cast<std::uint64_t>(value);
}

Failure unknown(const std::string& arena) {
  return refuse(Error::kUnknownArena, "arena '", arena.substr(0, 80), "' does not exist");
}

HeldShare sum(const std::vector<HeldShare>& shares) {
  HeldShare all;
  for (const HeldShare& share : shares) all += share;
  return all;
}

}  // namespace

void Control::with_census(const std::vector<ArenaId>& arena_ids,
                          std::function<void(CensusResult)> then) {
  std::vector<std::shared_ptr<ArenaState>> counts_from_words;
  for (const auto& [name, record] : arenas_.all()) {
    if (!record.state->counts_from_words.load(std::memory_order_relaxed)) continue;
    const bool asked =
        std::any_of(arena_ids.begin(), arena_ids.end(),
                    [id = record.id()](ArenaId a) { return a == kAllArenas || a == id; });
    if (asked) counts_from_words.push_back(record.state);
  }
  if (counts_from_words.empty()) return then({});
  count_words(std::move(counts_from_words), std::move(then));
}

void Control::count_words(std::vector<std::shared_ptr<ArenaState>> arenas,
                          std::function<void(CensusResult)> then) {
  round_begins();
  census_.count(std::move(arenas), [this, then = std::move(then)](CensusResult census) {
    inbox_.push([this, then, census = std::move(census)]() mutable {
      then(std::move(census));
      round_over();
    });
  });
}

ArenaFacts Control::arena_facts(const ArenaRecord& record, HeldShare held,
                                const CensusResult& census) const {
  const Arena& arena = *record.state->arena;
  ArenaFacts facts;
  facts.id = record.id();
  facts.name = record.name();
  facts.capacity_bytes = arena.capacity_bytes();
  facts.holder_only = arena.options().holder_only;
  facts.canary = record.canary;
  facts.access = record.access;
  facts.committed_bytes = arena.committed_bytes();
  // Shards count what they gave and took; what the reaper took they do not see. Sums of moving
  // counts: never below 0.
  held.add(-static_cast<std::int64_t>(record.reaped.blocks),
           -static_cast<std::int64_t>(record.reaped.bytes));
  if (const auto counted = census.find(record.id()); counted != census.end())
    held = counted->second->held;
  facts.held_blocks = not_negative(held.blocks);
  facts.held_bytes = not_negative(held.bytes);
  facts.sessions = static_cast<std::uint32_t>(record.sessions.size());
  facts.quarantined = arena.quarantined();
  if (facts.quarantined) facts.quarantine_reason = arena.quarantine_reason();
  return facts;
}

void Control::arenas_changed() {
  std::vector<std::shared_ptr<ArenaState>> states;
  for (const auto& [name, record] : arenas_.all()) states.push_back(record.state);
  maintenance_.set_arenas(std::move(states));
  maintenance_.kick();
}

Answer<ArenaId> Control::scope_of(const std::string& arena) {
  if (arena.empty()) return kAllArenas;
  const ArenaRecord* record = arenas_.find(arena);
  if (record == nullptr) return unknown(arena);
  return record->id();
}

void Control::create_arena(CreateArenaArgs args, Done<ArenaFacts> done) {
  call<ArenaFacts>(std::move(done), [this, args = std::move(args)](Done<ArenaFacts> done) {
    if (draining())
      return done(refuse(Error::kDraining, "arena '", args.name.substr(0, 80), "' is not created"));
    auto made = arenas_.create(args);
    if (!made.ok()) return done(made.error());
    arenas_changed();
    const std::shared_ptr<ArenaState> state = (*made)->state;
    visit_all([state](Shard& shard) { shard.add_arena(state); },
              [this, state, done = std::move(done)] {
                const ArenaRecord* record = arenas_.find(state->arena->options().name);
                if (record == nullptr || record->state != state)
                  return done(unknown(state->arena->options().name));
                done(arena_facts(*record, {}, {}));
              });
  });
}

void Control::get_arena(std::string name, Done<ArenaFacts> done) {
  call<ArenaFacts>(std::move(done), [this, name = std::move(name)](Done<ArenaFacts> done) {
    const ArenaRecord* record = arenas_.find(name);
    if (record == nullptr) return done(unknown(name));
    round<HeldShare>(
        [id = record->id()](Shard& shard) { return shard.held(id); },
        [this, name, id = record->id(), done = std::move(done)](std::vector<HeldShare> shares) {
          with_census({id}, [this, name, done, held = sum(shares)](CensusResult census) {
            const ArenaRecord* record = arenas_.find(name);
            if (record == nullptr) return done(unknown(name));
            done(arena_facts(*record, held, census));
          });
        });
  });
}

void Control::list_arenas(std::uint32_t page_size, std::string page_token,
                          Done<Page<ArenaFacts>> done) {
  call<Page<ArenaFacts>>(std::move(done), [this, page_size, page_token = std::move(page_token)](
                                              Done<Page<ArenaFacts>> done) {
    const std::uint32_t most = page_size == 0 ? kMaxPage : std::min(page_size, kMaxPage);
    // The token is the last name of the page before: arenas that come and go in between do no harm.
    std::vector<std::string> names;
    std::vector<ArenaId> ids;
    auto next = page_token.empty() ? arenas_.all().begin() : arenas_.all().upper_bound(page_token);
    for (; next != arenas_.all().end() && names.size() < most; ++next) {
      names.push_back(next->first);
      ids.push_back(next->second.id());
    }
    const std::string next_token = next == arenas_.all().end() ? std::string() : names.back();
    using Shares = std::vector<HeldShare>;
    round<Shares>(
        [ids](Shard& shard) {
          Shares shares;
          for (const ArenaId id : ids) shares.push_back(shard.held(id));
          return shares;
        },
        [this, names, ids, next_token, done = std::move(done)](std::vector<Shares> by_shard) {
          with_census(ids, [this, names, next_token, done,
                            by_shard = std::move(by_shard)](CensusResult census) {
            Page<ArenaFacts> page;
            page.next_page_token = next_token;
            for (std::size_t i = 0; i < names.size(); ++i) {
              const ArenaRecord* record = arenas_.find(names[i]);
              if (record == nullptr) continue;  // deleted in the meantime
              HeldShare held;
              for (const Shares& shares : by_shard) held += shares[i];
              page.items.push_back(arena_facts(*record, held, census));
            }
            done(std::move(page));
          });
        });
  });
}

void Control::delete_arena(std::string name, bool force, Done<Nothing> done) {
  call<Nothing>(std::move(done), [this, name = std::move(name), force](Done<Nothing> done) {
    ArenaRecord* record = arenas_.find(name);
    if (record == nullptr) return done(unknown(name));
    if (!record->sessions.empty() && !force) {
      std::string some;
      int named = 0;
      for (const SessionId id : record->sessions) {
        if (++named > 3) break;
        some += concat(named > 1 ? ", " : "", id, " '", sessions_.name_of(id), "'");
      }
      return done(refuse(Error::kArenaBusy, "arena '", name, "' has ", record->sessions.size(),
                         " sessions attached (", some,
                         record->sessions.size() > 3 ? ", ...)" : ")"));
    }
    for (const SessionId id : record->sessions)
      if (SessionRecord* session = sessions_.find(id)) session->attached.erase(record->id());
    tokens_.drop_arena(record->id());
    const std::set<SessionId> sessions = record->sessions;
    std::shared_ptr<ArenaState> state = arenas_.remove(name).state;
    const ArenaId id = state->arena->id();
    arenas_changed();
    log_(concat("arena '", name, "' is deleted"));
    visit_all([id](Shard& shard) { shard.remove_arena(id); },
              [this, id, sessions, state = std::move(state), done = std::move(done)]() mutable {
                // What they held there counts against no limit any more.
                for (const SessionId session : sessions)
                  if (shared_.session_bytes.limit(session) != 0) recount(session, [] {});
                trim_rounds_.erase(id);
                arenas_.release_id(id);
                maintenance_.bury(std::move(state));
                done(Nothing{});
              });
  });
}

}  // namespace arenad::server
