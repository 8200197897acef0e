// ArenaCalls: CreateArena, GetArena, ListArenas and DeleteArena.
//
// Invariants: a new arena is answered when every shard knows it. A deleted arena is answered when
// no shard knows it any more; only then may its id be used again.
// Threads: the control thread.
// Crash: see arena_registry.h.
#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "server/core/control/control_core.h"

namespace arenad::server {

class Drain;
class Recounts;
class Remains;
class TrimRounds;

class ArenaCalls {
 public:
  ArenaCalls(ControlCore& core, const Drain& drain, Recounts& recounts, TrimRounds& trim_rounds,
             Remains& remains)
      : core_(core),
        drain_(drain),
        recounts_(recounts),
        trim_rounds_(trim_rounds),
        remains_(remains) {}

  // The caller is the owner. An administrator may name another one. Errors: those of
  // ArenaRegistry::create; kDraining; kNotPermitted (a foreign owner or group; a TCP client).
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
  // Who may own the arena: fills in the caller where nobody is named.
  static Failure take_ownership(const Principal& caller, CreateArenaArgs& args);
  // Tells the sessions that were attached, on their KeepAlive streams.
  void tell_deleted(ArenaId id, const std::string& name, const std::set<SessionId>& attached);
  Failure busy(const ArenaRecord& record) const;

  ControlCore& core_;
  const Drain& drain_;
  Recounts& recounts_;
  TrimRounds& trim_rounds_;
  Remains& remains_;
};

}  // namespace arenad::server
