// Audits: an exact check of all arenas while the shards stand still.
//
// Purpose: all shards publish and drain, then all stand still (Standstill) and check their heaps,
// and the arenas as a whole. An arena that has findings is quarantined.
// Invariants:
// * No reap runs while shards stand still (StandstillGate). So a report is exact whatever the load.
//   Shards that do not all arrive within 5 s give the standstill up, and there is no report.
// * At most one audit runs. After it the shards work kWorkPerStop times as long as they stood.
// * Audits that wait run in order. A caller joins the audit of the same scope that waits. A caller
//   does not join the audit that runs: it may have looked before the call.
// Threads: the control thread.
// Crash: reads arenas, and may mark one as quarantined.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "server/core/control/control_core.h"
#include "server/core/control/later.h"
#include "server/core/control/standstill.h"
#include "server/core/control/standstill_gate.h"
#include "server/core/control/task.h"

namespace arenad::server {

class Audits {
 public:
  Audits(ControlCore& core, StandstillGate& gate) : core_(core), gate_(gate) {}

  // Calls that may wait at a time.
  static constexpr std::size_t kMostCallers = 256;
  // So audits in a loop stop the shards for a tenth of the time at most.
  static constexpr std::uint64_t kWorkPerStop = 9;

  // An empty name: all arenas. Errors: kUnknownArena, kQuotaDaemon when too many calls wait,
  // kInternal when a shard does not stand still.
  Task<Answer<AuditResult>> audit(Caller caller, std::string arena);
  // Audits that have begun.
  std::uint64_t count() const { return count_; }

 private:
  // One that waits for its turn, with the calls that it answers.
  struct Waiting {
    ArenaId scope;
    std::string arena;
    std::vector<Later<Answer<AuditResult>>> callers;
  };
  Task<> run_all();
  Task<Answer<AuditResult>> run(ArenaId id, std::string arena);
  std::shared_ptr<Standstill> prepare(ArenaId scope);
  AuditedArena report_on(Standstill& standstill, std::size_t arena);
  void quarantine_if_damaged(const AuditedArena& audited, ArenaState& state);

  ControlCore& core_;
  StandstillGate& gate_;
  std::deque<Waiting> waiting_;
  std::size_t callers_ = 0;  // of waiting_ and of the audit that runs
  bool running_ = false;
  std::uint64_t count_ = 0;
  std::uint64_t stopped_ns_ = 0;  // by the newest audit
};

}  // namespace arenad::server
