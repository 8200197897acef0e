// Audits: an exact check of all arenas while the shards stand still.
//
// Purpose: all shards publish and drain, then all stand still (Standstill) and check their heaps,
// and the arenas as a whole. An arena that has findings is quarantined.
// Invariants: no reap runs while shards stand still (StandstillGate). So a report is exact whatever
// the load. Shards that do not all arrive within 5 s give the standstill up, without a report.
// Threads: the control thread.
// Crash: reads arenas, and may mark one as quarantined.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "server/core/control/control_core.h"
#include "server/core/control/standstill.h"
#include "server/core/control/standstill_gate.h"

namespace arenad::server {

class Audits {
 public:
  Audits(ControlCore& core, StandstillGate& gate) : core_(core), gate_(gate) {}

  // An empty name: all arenas. Errors: kUnknownArena, kInternal when a shard does not stand still.
  Task<Answer<AuditResult>> audit(Caller caller, std::string arena);

 private:
  std::shared_ptr<Standstill> prepare(ArenaId scope);
  AuditedArena report_on(Standstill& standstill, std::size_t arena);
  void quarantine_if_damaged(const AuditedArena& audited, ArenaState& state);

  ControlCore& core_;
  StandstillGate& gate_;
};

}  // namespace arenad::server
