// Control: the control plane as one object.
//
// Purpose: wires the parts of the control plane, and passes each call of ControlApi and ControlLink
// to the part that does it. Control does nothing else. README.md says which part does what.
// Invariants: every call of ControlApi is answered once, on the control thread. After stop() calls
// are refused on the caller's thread.
// Threads: the calls of ControlApi and ControlLink by any thread. start, stop and destruction by
// the engine's owner.
// Crash: private memory of the daemon. With a state directory the next daemon goes on from there.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/core/api/api.h"
#include "server/core/control/admin_facts.h"
#include "server/core/control/arena_calls.h"
#include "server/core/control/audits.h"
#include "server/core/control/control_core.h"
#include "server/core/control/detaches.h"
#include "server/core/control/drain.h"
#include "server/core/control/evictions.h"
#include "server/core/control/free_rounds.h"
#include "server/core/control/handoff_desk.h"
#include "server/core/control/liveness.h"
#include "server/core/control/remains.h"
#include "server/core/control/session_calls.h"
#include "server/core/control/session_ends.h"
#include "server/core/control/session_list.h"
#include "server/core/control/session_reap.h"
#include "server/core/control/standstill_gate.h"
#include "server/core/control/state_watch.h"
#include "server/core/control/trim_rounds.h"
#include "server/core/control/upkeep.h"
#include "server/core/handoff/handoff.h"

namespace arenad::server {

class Control final : public ControlApi, public ControlLink {
 public:
  Control(ShardGroup::Shards& shards, SharedState& shared, const Limits& limits,
          const std::string& handoff_path, StateDirectory state, Log log,
          std::function<void()> on_state_lost);
  ~Control() override;

  // Before any shard's thread runs: what a former daemon left is put into the shards' tables.
  // Errors: those of Handoff::open and StateRecovery::run.
  Answer<Nothing> start();
  // See Drain::begin.
  void begin_drain(std::function<void()> drained) { drain_.begin(std::move(drained)); }
  // While the loops of the shards still run. Idempotent.
  void stop();
  std::uint64_t uptime_ms() const { return facts_.uptime_ms(); }

  // --- ControlApi
  void create_arena(Caller caller, CreateArenaArgs args, Done<ArenaFacts> done) override;
  void get_arena(Caller caller, std::string name, Done<ArenaFacts> done) override;
  void list_arenas(Caller caller, std::uint32_t page_size, std::string page_token,
                   Done<Page<ArenaFacts>> done) override;
  void delete_arena(Caller caller, std::string name, bool force, Done<Nothing> done) override;
  void open_session(Caller caller, OpenSessionArgs args, Done<OpenedSession> done) override;
  void attach_arena(SessionKey key, std::string arena, AttachMode mode,
                    Done<AttachedArena> done) override;
  void detach_arena(SessionKey key, ArenaId arena_id, LeaseEpoch epoch, bool give_up_blocks,
                    Done<GivenBack> done) override;
  void close_session(SessionKey key, Done<GivenBack> done) override;
  void list_sessions(Caller caller, std::uint32_t page_size, std::string page_token,
                     Done<Page<SessionFacts>> done) override;
  void keepalive_opened(Caller caller, SessionKey key, std::uint64_t stream_id,
                        OnSessionEvent on_event, Done<Nothing> done) override;
  void keepalive_lost(SessionKey key, std::uint64_t stream_id) override;
  void keepalive_trimmed(SessionKey key, std::uint64_t round, ArenaId arena_id) override;
  void get_stats(Caller caller, std::string arena, Done<DaemonStats> done) override;
  void slab_info(Caller caller, std::string arena, Done<std::vector<SlabInfoRow>> done) override;
  void list_holders(Caller caller, std::string arena, std::uint32_t limit,
                    Done<Holders> done) override;
  void audit(Caller caller, std::string arena, Done<AuditResult> done) override;
  void get_tunables(Done<std::vector<TunableFacts>> done) override;
  void set_tunables(Caller caller, std::vector<std::pair<std::string, std::string>> values,
                    Done<std::vector<TunableFacts>> done) override;
  void evict_session(Caller caller, SessionId session, Done<GivenBack> done) override;
  void trim(Caller caller, std::string arena, Done<TrimFacts> done) override;
  void limit_session(Caller caller, SessionId session, std::uint64_t limit_bytes,
                     Done<SessionLimitFacts> done) override;
  bool draining() const override { return drain_.draining(); }

  // --- ControlLink
  void need_memory(ArenaId arena_id, ShardId shard, std::uint64_t ticket) override;
  void need_free_round(ArenaId arena_id, ShardId shard, std::uint64_t ticket) override;
  void memory_returned(ArenaId arena_id) override;
  void need_commit(std::shared_ptr<ArenaState> arena, ShardId shard, std::uint64_t ticket,
                   CommitNeed need) override;
  void kick_maintenance(ArenaId arena) override { core_.maintenance.kick(arena); }

 private:
  void end_lost_session(SessionId session, Liveness::Loss loss);

  ControlCore core_;
  StandstillGate gate_;
  Drain drain_;
  FreeRounds free_rounds_;
  TrimRounds trim_rounds_;
  Liveness liveness_;
  SessionReap reap_;
  Detaches detaches_;
  SessionEnds ends_;
  Evictions evictions_;
  Remains remains_;
  ArenaCalls arena_calls_;
  SessionCalls session_calls_;
  SessionList session_list_;
  Audits audits_;
  Upkeep upkeep_;
  AdminFacts facts_;
  StateWatch state_watch_;
  HandoffDesk desk_;
  Handoff handoff_;
};

}  // namespace arenad::server
