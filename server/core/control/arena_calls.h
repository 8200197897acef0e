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
class TrimRounds;

class ArenaCalls {
 public:
  ArenaCalls(ControlCore& core, const Drain& drain, Recounts& recounts, TrimRounds& trim_rounds)
      : core_(core), drain_(drain), recounts_(recounts), trim_rounds_(trim_rounds) {}

  // Errors: those of ArenaRegistry::create; kDraining.
  Task<Answer<ArenaFacts>> create(CreateArenaArgs args);
  // Errors: kUnknownArena.
  Task<Answer<ArenaFacts>> get(std::string name);
  // In order of name. `page_size` 0 means kMaxPage.
  Task<Answer<Page<ArenaFacts>>> list(std::uint32_t page_size, std::string page_token);
  // `force`: also while sessions are attached. Errors: kUnknownArena, kArenaBusy.
  Task<Answer<Nothing>> remove(std::string name, bool force);

 private:
  // Tells the sessions that were attached, on their KeepAlive streams.
  void tell_deleted(ArenaId id, const std::string& name, const std::set<SessionId>& attached);
  Failure busy(const ArenaRecord& record) const;

  ControlCore& core_;
  const Drain& drain_;
  Recounts& recounts_;
  TrimRounds& trim_rounds_;
};

}  // namespace arenad::server
