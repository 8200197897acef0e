// AdminFacts: statistics, slab info, holders and tunables, for administrators and for metrics.
//
// Threads: the control thread. Crash: reads only; tunables are private memory of the daemon.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "server/core/control/control_core.h"
#include "server/core/control/tunable_registry.h"

namespace arenad::server {

class SessionEnds;

class AdminFacts {
 public:
  AdminFacts(ControlCore& core, const SessionEnds& ends);

  // In all of these an empty name means all arenas. Errors: kUnknownArena, kNotPermitted (who may
  // not read the arena).
  Task<Answer<DaemonStats>> stats(Caller caller, std::string arena);
  // Of arenas that the caller may read.
  Task<Answer<std::vector<SlabInfoRow>>> slab_info(Caller caller, std::string arena);
  // The biggest first; the caller's own sessions, or for an administrator all. `limit` 0 means 100.
  Task<Answer<Holders>> holders(Caller caller, std::string arena, std::uint32_t limit);

  std::vector<TunableFacts> tunables() const { return tunables_.get(); }
  // Changes all or none, and answers all tunables. Errors: kInvalidOption, kNotPermitted.
  Task<Answer<std::vector<TunableFacts>>> set_tunables(
      Caller caller, std::vector<std::pair<std::string, std::string>> values);

  std::uint64_t uptime_ms() const;

 private:
  void add_arenas(DaemonStats& stats, ArenaId scope, HeldShare held, const CensusResult& census);
  void add_slab_row(const Principal& caller, std::vector<SlabInfoRow>& rows, ArenaId arena,
                    bool peers, ShardId shard, const ClassUsage& usage);
  Holders holders_of(const Principal& caller, const CensusResult& census, std::size_t most) const;

  ControlCore& core_;
  const SessionEnds& ends_;
  TunableRegistry tunables_;
  const std::uint64_t started_ns_;
};

}  // namespace arenad::server
