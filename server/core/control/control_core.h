// ControlCore: what every part of the control plane works with.
//
// Purpose: the control thread, the shards, the registries, and the helpers' threads (maintenance,
// census). The parts (ArenaCalls, SessionEnds, TrimRounds, ...) know the core and each other where
// they must; the core knows none of them.
// Invariants: everything but `shared` and `log` belongs to the control thread. Before the thread
// runs, and after it has ended, everything belongs to the thread that starts and stops the engine.
// Threads: see above.
// Crash: private memory of the daemon. With a state directory the next daemon goes on from there
// (state_recovery.h).
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "allocator/base/log.h"
#include "server/core/api/limits.h"
#include "server/core/api/log.h"
#include "server/core/control/arena_registry.h"
#include "server/core/control/census.h"
#include "server/core/control/commit_threads.h"
#include "server/core/control/control_thread.h"
#include "server/core/control/maintenance.h"
#include "server/core/control/session_registry.h"
#include "server/core/control/shard_group.h"
#include "server/core/control/token_table.h"
#include "server/core/shard/shared_state.h"
#include "server/core/state/session_store.h"
#include "server/core/state/state_directory.h"

namespace arenad::server {

struct ControlCore {
  ControlCore(ShardGroup::Shards& all_shards, SharedState& shared_state, const Limits& limits,
              StateDirectory state_directory, Log write_log);

  // Tells the maintenance thread which arenas there are.
  void arenas_changed();
  // Id of the named arena, kAllArenas for an empty name. Errors: kUnknownArena.
  Answer<ArenaId> scope_of(const std::string& arena);
  // The same for a caller who must be allowed to read the named arena. Errors: also kNotPermitted.
  Answer<ArenaId> scope_of(const Principal& caller, const std::string& arena);
  // Writes a refusal to the log, some a second at most, and answers it.
  Failure refused(const Principal& caller, Failure why);
  // kNotPermitted for who is no administrator; `what` they asked for.
  Failure must_be_admin(const Principal& caller, std::string_view what);
  // Begins the account of a session. No user is charged for what an administrator opened.
  void open_account(SessionId session, std::uint64_t limit_bytes, const Principal& owner);
  // Who pays for what the session leaves with others; kNoSession: nobody.
  SessionId heir_of(SessionId session);
  // Ends the account of a session of which nothing is left.
  void close_account(SessionId session);
  // The arenas in the scope, or those with one of these ids.
  std::vector<std::shared_ptr<ArenaState>> arenas_in(ArenaId scope);
  std::vector<std::shared_ptr<ArenaState>> arenas_of(const std::vector<ArenaId>& ids);

  // Counts who holds what in these arenas, from the block words.
  Later<CensusResult> count_words(std::vector<std::shared_ptr<ArenaState>> of);
  // The same, but only in arenas in which calls alone do not say who holds what
  // (ArenaState::counts_from_words). There may be none: then the value is there at once.
  Later<CensusResult> count_where_needed(std::vector<std::shared_ptr<ArenaState>> of);

  const Log log;
  SharedState& shared;
  StateDirectory state;
  SessionStore store;
  ArenaRegistry arenas;
  SessionRegistry sessions;
  TokenTable tokens;
  CommitThreads commits;
  Maintenance maintenance;
  Census census;
  RateLimit refusals{20};     // lines of the log a second
  RateLimit attachments{20};  // the same, for attach and detach
  ControlThread thread;       // after all that its sequences hold on to
  ShardGroup shards;
};

}  // namespace arenad::server
