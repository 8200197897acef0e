// ArenaCalls: CreateArena, GetArena, ListArenas and DeleteArena.
//
// Invariants: a new arena is answered when every shard knows it. A deleted arena is answered when
// no shard knows it any more; only then may its id be used again.
// Threads: the control thread.
// Crash: see arena_registry.h.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>

#include "server/core/control/control_core.h"

namespace arenad::server {

class Drain;
class Remains;
class TrimRounds;

class ArenaCalls {
 public:
  ArenaCalls(ControlCore& core, const Drain& drain, TrimRounds& trim_rounds, Remains& remains)
      : core_(core), drain_(drain), trim_rounds_(trim_rounds), remains_(remains) {}

  // The caller is the owner. An administrator may name another one. A pinned arena is committed
  // before anybody finds it. Errors: those of ArenaRegistry::make; kDraining; kQuotaUser (pinned
  // arenas); kNotPermitted (a foreign owner or group; a TCP client; a lock without being admin).
  Task<Answer<ArenaFacts>> create(Caller caller, CreateArenaArgs args);
  // Errors: kUnknownArena, kNotPermitted (who may not read it).
  Task<Answer<ArenaFacts>> get(Caller caller, std::string name);
  // Those that the caller may read, in order of name. `page_size` 0 means kMaxPage.
  Task<Answer<Page<ArenaFacts>>> list(Caller caller, std::uint32_t page_size,
                                      std::string page_token);
  // `force`: also while sessions are attached. Errors: kUnknownArena, kArenaBusy, kNotPermitted
  // (who does not own it).
  Task<Answer<Nothing>> remove(Caller caller, std::string name, bool force);

 private:
  // The commit thread commits all of a pinned arena, and locks it. Errors: kMachineFull.
  Later<Failure> commit_whole(const std::shared_ptr<ArenaState>& state);
  // Who may own the arena: fills in the caller where nobody is named.
  static Failure take_ownership(const Principal& caller, CreateArenaArgs& args);
  // Logs what the kernel did not give the new arena: huge pages, or the NUMA policy.
  void warn_of_fallbacks(const ArenaRecord& record) const;
  // What sessions hold is charged to their users. What is pinned is nobody's yet, so it has a bound
  // of its own: the pinned arenas of one user together have at most max_user_bytes.
  Failure check_pinned(const Principal& caller, const CreateArenaArgs& args) const;
  void credit_leases(const Arena& arena);
  // Tells the sessions that were attached, on their KeepAlive streams.
  void tell_deleted(ArenaId id, const std::string& name, const std::set<SessionId>& attached);
  Failure busy(const ArenaRecord& record) const;

  ControlCore& core_;
  const Drain& drain_;
  TrimRounds& trim_rounds_;
  Remains& remains_;
};

}  // namespace arenad::server
