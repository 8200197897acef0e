#include "server/core/control/arena_calls.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <vector>

#include "allocator/base/format.h"
#include "server/core/api/text.h"
#include "server/core/control/arena_facts.h"
#include "server/core/control/drain.h"
#include "server/core/control/remains.h"
#include "server/core/control/trim_rounds.h"

namespace arenad::server {

Failure ArenaCalls::take_ownership(const Principal& caller, CreateArenaArgs& args) {
  // The refusal goes to the log, too.
  const std::string name = valid_name(args.name) ? args.name : "(no valid name)";
  if (!caller.is_user())
    return refuse(Error::kNotPermitted,
                  fmt::format("{} creates no arena ('{}')", caller.text(), name));
  ArenaAccess& access = args.access;
  const bool names_owner = args.has_access && access.uid != 0;
  const bool names_group = args.has_access && access.gid != 0;
  if (!names_owner) access.uid = caller.uid;
  if (!names_group) access.gid = caller.gid;
  args.has_access = true;
  if (caller.is_admin) return {};
  if (names_owner && access.uid != caller.uid)
    return refuse(Error::kNotPermitted, fmt::format("{} may not give arena '{}' to uid {}",
                                                    caller.text(), name, access.uid));
  if (names_group && !caller.in_group(access.gid))
    return refuse(Error::kNotPermitted, fmt::format("{} is not in group {} of arena '{}'",
                                                    caller.text(), access.gid, name));
  return {};
}

Task<Answer<ArenaFacts>> ArenaCalls::create(Caller caller, CreateArenaArgs args) {
  if (drain_.draining()) {
    co_return refuse(Error::kDraining,
                     fmt::format("arena '{}' is not created", args.name.substr(0, 80)));
  }
  if (Failure failure = take_ownership(*caller, args); failure.error != Error::kNone)
    co_return core_.refused(*caller, failure);
  if (args.lock)
    if (Failure failure = core_.must_be_admin(*caller, "An arena that is locked into memory");
        failure.error != Error::kNone)
      co_return failure;
  if (Failure failure = check_pinned(*caller, args); failure.error != Error::kNone)
    co_return core_.refused(*caller, failure);
  auto made = core_.arenas.make(*caller, args);
  if (!made.ok()) co_return core_.refused(*caller, made.error());
  std::shared_ptr<ArenaState> state = std::move(*made);
  if (args.pinned) {
    auto committed = commit_whole(state);
    Failure full = co_await committed;
    if (full.error != Error::kNone) {
      core_.arenas.give_up(args.name);
      core_.commits.bury(std::move(state), {});  // no client has had it
      if (core_.thread.stopping())
        full = refuse(Error::kDraining, fmt::format("arena '{}' is not created", args.name));
      co_return core_.refused(*caller, full);
    }
  }
  const ArenaRecord& finished = *core_.arenas.finish(args.name);
  core_.log(
      LogLevel::kInfo,
      fmt::format("arena '{}' is created by {}: {}{}{}{}{}{}, owner {}, group {}, mode 0{:03o}",
                  args.name, caller->text(), bytes_text(state->arena->capacity_bytes()),
                  args.pinned ? ", pinned" : "", args.lock ? " and locked" : "",
                  args.huge_pages ? ", huge pages" : "",
                  args.numa.empty() ? std::string() : ", NUMA " + args.numa,
                  args.debug.any() ? ", debug " + debug_text(args.debug) : std::string(),
                  finished.access.uid, finished.access.gid, finished.access.mode));
  warn_of_fallbacks(finished);
  core_.arenas_changed();
  auto added = core_.shards.broadcast([state](Shard& shard) { shard.add_arena(state); });
  co_await added;
  const std::string& name = state->arena->options().name;
  const ArenaRecord* const record = core_.arenas.find(name);
  if (record == nullptr || record->state != state) co_return unknown_arena(name);
  co_return arena_facts(*record, HeldShare(), CensusResult());
}

void ArenaCalls::warn_of_fallbacks(const ArenaRecord& record) const {
  if (!record.numa_fallback.empty())
    core_.log(LogLevel::kWarning,
              fmt::format("arena '{}' is served, but NUMA {}: {}", record.name(),
                          record.state->arena->options().numa.text(), record.numa_fallback));
  if (const std::string why = record.state->arena->huge_page_refusal(); !why.empty())
    core_.log(LogLevel::kWarning,
              fmt::format("arena '{}' is served, but with small pages: {}", record.name(), why));
}

Failure ArenaCalls::check_pinned(const Principal& caller, const CreateArenaArgs& args) const {
  if (!args.pinned || caller.is_admin) return {};
  const std::uint64_t have = core_.arenas.pinned_bytes_of(args.access.uid);
  const std::uint64_t most = core_.shared.account.user_limit_bytes();
  if (have <= most && args.capacity_bytes <= most - have) return {};
  return refuse(Error::kQuotaUser,
                fmt::format("uid {} has {} in pinned arenas, with {} more they would be over "
                            "max_user_bytes, {}",
                            args.access.uid, bytes_text(have), bytes_text(args.capacity_bytes),
                            bytes_text(most)));
}

Later<Failure> ArenaCalls::commit_whole(const std::shared_ptr<ArenaState>& state) {
  auto committed = core_.thread.begin_operation<Failure>();
  core_.commits.run(state, [this, state, committed] {
    core_.thread.end_operation(committed, state->arena->commit_whole());
  });
  return committed;
}

Task<Answer<ArenaFacts>> ArenaCalls::get(Caller caller, std::string name) {
  const ArenaRecord* record = core_.arenas.find(name);
  if (record == nullptr) co_return unknown_arena(name);
  if (!caller->may_read(record->access))
    co_return core_.refused(*caller, not_permitted(*caller, *record, "describe"));
  const ArenaId id = record->id();
  auto asked = core_.shards.broadcast([id](Shard& shard) { return shard.held(id); });
  const std::vector<HeldShare> shares = co_await asked;
  auto counted = core_.count_where_needed(core_.arenas_in(id));
  const CensusResult census = co_await counted;
  record = core_.arenas.find(name);
  if (record == nullptr) co_return unknown_arena(name);
  co_return arena_facts(*record, sum_of(shares), census);
}

Task<Answer<Page<ArenaFacts>>> ArenaCalls::list(Caller caller, std::uint32_t page_size,
                                                std::string page_token) {
  const std::uint32_t most = page_size == 0 ? kMaxPage : std::min(page_size, kMaxPage);
  // The token is the last name of the page before. So arenas may come and go in between.
  const auto& all = core_.arenas.all();
  std::vector<std::string> names;
  std::vector<ArenaId> ids;
  auto next = page_token.empty() ? all.begin() : all.upper_bound(page_token);
  for (; next != all.end() && names.size() < most; ++next) {
    if (!caller->may_read(next->second.access)) continue;
    names.push_back(next->first);
    ids.push_back(next->second.id());
  }
  Page<ArenaFacts> page;
  if (next != all.end()) page.next_page_token = names.back();

  auto asked = core_.shards.broadcast([ids](Shard& shard) {
    std::vector<HeldShare> shares;
    for (const ArenaId id : ids) shares.push_back(shard.held(id));
    return shares;
  });
  const std::vector<std::vector<HeldShare>> by_shard = co_await asked;
  auto counted = core_.count_where_needed(core_.arenas_of(ids));
  const CensusResult census = co_await counted;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const ArenaRecord* const record = core_.arenas.find(names[i]);
    if (record == nullptr) continue;  // deleted in the meantime
    HeldShare held;
    for (const std::vector<HeldShare>& shares : by_shard) held += shares[i];
    page.items.push_back(arena_facts(*record, held, census));
  }
  co_return page;
}

Task<Answer<Nothing>> ArenaCalls::remove(Caller caller, std::string name, bool force) {
  const ArenaRecord* const record = core_.arenas.find(name);
  if (record == nullptr) co_return unknown_arena(name);
  if (!caller->owns(record->access))
    co_return core_.refused(*caller, not_permitted(*caller, *record, "delete"));
  if (!record->sessions.empty() && !force) co_return busy(*record);
  const ArenaId id = record->id();
  const std::set<SessionId> attached = record->sessions;
  for (const SessionId session : attached)
    if (SessionRecord* const s = core_.sessions.find(session)) s->attached.erase(id);
  core_.tokens.drop_arena(id);
  ArenaRecord gone = core_.arenas.remove(name);
  core_.arenas_changed();
  core_.log(LogLevel::kInfo, fmt::format("arena '{}' is deleted by {}", name, caller->text()));
  tell_deleted(id, name, attached);

  auto removed = core_.shards.broadcast([id](Shard& shard) { shard.remove_arena(id); });
  co_await removed;
  credit_leases(*gone.state->arena);
  trim_rounds_.arena_removed(id);
  core_.arenas.release_id(id);
  remains_.bury(gone.access.uid, std::move(gone.state));
  co_return Nothing{};
}

// The shards have forgiven what sessions paid for in their heaps. Leases are paid for by nobody any
// more, too.
void ArenaCalls::credit_leases(const Arena& arena) {
  arena.for_each_run([this](SlabIndex, RunRecord run) {
    const SessionId lessee = run.owner().lessee();
    if (lessee != kNoSession) core_.shared.account.credit(lessee, run.bytes());
  });
}

void ArenaCalls::tell_deleted(ArenaId id, const std::string& name,
                              const std::set<SessionId>& attached) {
  for (const SessionId session : attached) {
    const SessionRecord* const told = core_.sessions.find(session);
    if (told == nullptr || told->reaping) continue;
    for (const auto& [stream, on_event] : told->keepalives)
      on_event({SessionEvent::Kind::kArenaDeleted, 0, id, name});
  }
}

Failure ArenaCalls::busy(const ArenaRecord& record) const {
  constexpr std::size_t kNamed = 3;
  std::string some;
  std::size_t named = 0;
  for (const SessionId id : record.sessions) {
    if (named == kNamed) break;
    some += fmt::format("{}{} '{}'", named == 0 ? "" : ", ", id.value, core_.sessions.name_of(id));
    ++named;
  }
  return refuse(Error::kArenaBusy, fmt::format("arena '{}' has {} sessions attached ({}{})",
                                               record.name(), record.sessions.size(), some,
                                               record.sessions.size() > kNamed ? ", ..." : ""));
}

}  // namespace arenad::server
