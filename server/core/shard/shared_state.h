// SharedState: what every shard gets, and ControlLink, by which a shard asks the control thread.
//
// Invariants: a shard never waits for another thread through anything here.
// Threads: any. Tunables and account are atomics; ControlLink's calls come from shard threads.
// Crash: private memory of the daemon.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "allocator/format/ids.h"
#include "server/core/api/limits.h"
#include "server/core/api/tunables.h"
#include "server/core/host/host_budget.h"
#include "server/core/host/numa_nodes.h"
#include "server/core/shard/account.h"
#include "server/core/shard/arena_state.h"
#include "server/core/shard/parked_call.h"

namespace arenad::server {

// What a shard tells the control thread. None of these calls blocks or takes a lock.
class ControlLink {
 public:
  virtual ~ControlLink() = default;
  // A call was parked under `ticket`. Every shard must trim the arena; then Shard::trim_round must
  // be called with the ticket.
  virtual void need_memory(ArenaId arena_id, ShardId shard, std::uint64_t ticket) = 0;
  // A call was parked because its session or its user is at the limit. All shards must publish and
  // drain; then Shard::free_round_over must be called with the ticket.
  virtual void need_free_round(ArenaId arena_id, ShardId shard, std::uint64_t ticket) = 0;
  // Blocks were freed in an arena in which somebody waits.
  virtual void memory_returned(ArenaId arena_id) = 0;
  // A call was parked because it needs memory that is not committed. On another thread the arena
  // must claim the runs; then Shard::committed must be called with the ticket.
  virtual void need_commit(std::shared_ptr<ArenaState> arena, ShardId shard, std::uint64_t ticket,
                           CommitNeed need) = 0;
  // A shard has worked in the arena, so slabs may have been taken: commit memory ahead soon.
  virtual void kick_maintenance(ArenaId arena_id) = 0;
};

class PayerChanges;

struct SharedState {
  HostBudget memory;  // first: every arena gives its memory back to it
  ServerTunables tunables;
  Account account;
  ControlLink* control = nullptr;            // set before any shard runs
  std::vector<PayerChanges*> payer_changes;  // by shard; complete before any shard runs
  // Constant once the engine has started.
  bool root_is_admin = true;
  MachineNodes numa_nodes;
  std::uint32_t max_user_heaps = Limits().max_user_heaps;
  std::uint32_t max_user_sharers = Limits().max_user_sharers;
  std::uint32_t max_user_waiting_calls = Limits().max_user_waiting_calls;
  // `host_root`: see HostMemory.
  explicit SharedState(std::uint64_t session_limit_bytes, const std::string& host_root = "")
      : memory(host_root, [this](SessionId session) { return account.unused_reserve(session); }),
        account(session_limit_bytes) {}
};

}  // namespace arenad::server
