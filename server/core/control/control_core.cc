#include "server/core/control/control_core.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "server/core/control/arena_facts.h"

namespace arenad::server {

ControlCore::ControlCore(ShardGroup::Shards& all_shards, SharedState& shared_state,
                         const Limits& limits, StateDirectory state_directory, Log write_log)
    : log(write_log ? std::move(write_log) : [](LogLevel, const std::string&) {}),
      shared(shared_state),
      state(std::move(state_directory)),
      arenas(limits, state, &shared_state.memory, all_shards.size(), shared_state.numa_nodes),
      sessions(limits),
      maintenance(shared_state.tunables, commits, log),
      shards(thread, all_shards) {}

void ControlCore::arenas_changed() {
  maintenance.set_arenas(arenas_in(kAllArenas));
  maintenance.kick();
}

Answer<ArenaId> ControlCore::scope_of(const std::string& arena) {
  if (arena.empty()) return kAllArenas;
  const ArenaRecord* const record = arenas.find(arena);
  if (record == nullptr) return unknown_arena(arena);
  return record->id();
}

Answer<ArenaId> ControlCore::scope_of(const Principal& caller, const std::string& arena) {
  auto scope = scope_of(arena);
  if (!scope.ok() || *scope == kAllArenas) return scope;
  const ArenaRecord& record = *arenas.find(*scope);
  if (!caller.may_read(record.access))
    return refused(caller, not_permitted(caller, record, "look into"));
  return scope;
}

Failure ControlCore::refused(const Principal& caller, Failure why) {
  if (refusals.allow())
    log(LogLevel::kInfo, fmt::format("refused, {}: {}", caller.text(), why.message));
  return why;
}

Failure ControlCore::must_be_admin(const Principal& caller, std::string_view what) {
  if (caller.is_admin) return {};
  return refused(
      caller, {Error::kNotPermitted,
               fmt::format("{} is for administrators, and {} is none: call over admin.sock in the "
                           "socket directory, which root and the daemon's user may open",
                           what, caller.text())});
}

void ControlCore::open_account(SessionId session, std::uint64_t limit_bytes,
                               const Principal& owner) {
  if (owner.is_admin)
    shared.account.open(session, limit_bytes);
  else
    shared.account.open(session, limit_bytes, owner.uid);
}

// Without an id for an heir nobody pays. Then almost all session ids are in use.
SessionId ControlCore::heir_of(SessionId session) {
  if (shared.account.needs_heir(session))
    if (const auto id = sessions.take_id()) shared.account.set_heir(session, *id);
  return shared.account.heir_of(session);
}

void ControlCore::close_account(SessionId session) {
  shared.account.close(session);
  for (const SessionId heir : shared.account.forget_idle_users()) sessions.put_back_id(heir);
}

std::vector<std::shared_ptr<ArenaState>> ControlCore::arenas_in(ArenaId scope) {
  std::vector<std::shared_ptr<ArenaState>> found;
  for (const auto& [name, record] : arenas.all())
    if (scope == kAllArenas || record.id() == scope) found.push_back(record.state);
  return found;
}

std::vector<std::shared_ptr<ArenaState>> ControlCore::arenas_of(const std::vector<ArenaId>& ids) {
  std::vector<std::shared_ptr<ArenaState>> found;
  for (const auto& [name, record] : arenas.all())
    if (std::find(ids.begin(), ids.end(), record.id()) != ids.end()) found.push_back(record.state);
  return found;
}

Later<CensusResult> ControlCore::count_words(std::vector<std::shared_ptr<ArenaState>> of) {
  auto counted = thread.begin_operation<CensusResult>();
  census.count(std::move(of), [this, counted](CensusResult result) {
    thread.end_operation(counted, std::move(result));
  });
  return counted;
}

Later<CensusResult> ControlCore::count_where_needed(std::vector<std::shared_ptr<ArenaState>> of) {
  std::erase_if(of, [](const std::shared_ptr<ArenaState>& arena) {
    return !arena->counts_from_words.load(std::memory_order_relaxed);
  });
  if (!of.empty()) return count_words(std::move(of));
  Later<CensusResult> nothing;
  nothing.set({});
  return nothing;
}

}  // namespace arenad::server
