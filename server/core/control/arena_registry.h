// ArenaRegistry: the arenas that there are, by name and by id.
//
// Purpose: creates arenas within the daemon's limits, and finds them.
// Invariants: names are unique. An arena that was made and is not finished has its name and counts
// for the limits, but nobody finds it. Ids are unique, and an id comes back only
// after release_id, which is called when no shard knows the old arena any more.
// Threads: the control thread.
// Crash: private memory. Memfd arenas end with the daemon. The next daemon restores those in a
// state directory.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "allocator/arena/memory_budget.h"
#include "server/core/api/api.h"
#include "server/core/api/limits.h"
#include "server/core/control/id_pool.h"
#include "server/core/host/numa_nodes.h"
#include "server/core/shard/shared_state.h"
#include "server/core/state/state_directory.h"

namespace arenad::server {

struct ArenaRecord {
  std::shared_ptr<ArenaState> state;
  ArenaAccess access;
  std::string numa_fallback;     // why the option `numa` has no effect; else empty
  std::set<SessionId> sessions;  // attached
  // What the reaper gave back. Shards count allocations and frees, but not what the reaper takes.
  GivenBack reaped;

  const std::string& name() const { return state->arena->options().name; }
  ArenaId id() const { return state->arena->id(); }
};

class ArenaRegistry {
 public:
  // `state` is where the files of arenas lie, if they have any. `budget` outlives all arenas.
  // Each arena has memory for the heaps of so many shards.
  ArenaRegistry(const Limits& limits, StateDirectory& state, MemoryBudget* budget,
                std::size_t shards, MachineNodes nodes = MachineNodes())
      : limits_(limits),
        state_(state),
        budget_(budget),
        shards_(shards),
        nodes_(std::move(nodes)),
        ids_(1, kMaxArenaId, random_arena_id()) {}

  // Makes an arena that nobody finds until finish(). Errors: kInvalidName, kInvalidCapacity,
  // kInvalidOption, kArenaExists, kQuotaDaemon, kQuotaUser (the owner has too many), kMachineFull.
  Answer<std::shared_ptr<ArenaState>> make(const Principal& caller, const CreateArenaArgs& args);
  // From here on the arena is found, and outlives the daemon if it lies in files.
  ArenaRecord* finish(const std::string& name);
  // Or the arena is given up: its files, name and id are free again. The memory goes with the last
  // who has the state.
  void give_up(const std::string& name);
  // Ends what commits memory for arenas that are not finished: the daemon stops.
  void stop_unfinished();
  // Both steps in one, for arenas that need nothing in between.
  Answer<ArenaRecord*> create(const Principal& caller, const CreateArenaArgs& args);
  // An arena that a former daemon has left. No other arena has its name or id. restore comes before
  // the first create.
  void restore(std::unique_ptr<Arena> arena);
  ArenaRecord* find(const std::string& name);
  ArenaRecord* find(ArenaId id);
  // Takes the arena out, and removes its files. The id is not used before release_id.
  ArenaRecord remove(const std::string& name);
  void release_id(ArenaId id) { ids_.put_back(id); }
  // A deleted arena whose memory clients have still counts for its owner.
  void remains_began(std::uint32_t owner_uid) { ++remains_of_[owner_uid]; }
  void remains_ended(std::uint32_t owner_uid) {
    if (--remains_of_[owner_uid] == 0) remains_of_.erase(owner_uid);
  }

  // Arenas from here on commit their memory on other threads (Arena::commit_elsewhere).
  void commit_elsewhere() { commit_elsewhere_ = true; }

  // Capacities of the pinned arenas of that owner, unfinished ones included.
  std::uint64_t pinned_bytes_of(std::uint32_t owner_uid) const;
  std::map<std::string, ArenaRecord>& all() { return by_name_; }
  std::uint64_t capacity_bytes() const { return capacity_bytes_; }

 private:
  // Where ids begin: refs that are left from a former daemon's arenas are most likely foreign.
  static std::uint16_t random_arena_id();
  Failure check(const Principal& caller, const CreateArenaArgs& args);
  Failure check_quota(std::uint64_t capacity_bytes) const;
  Failure check_user(const Principal& caller, std::uint32_t owner) const;
  ArenaRecord record_of(std::unique_ptr<Arena> arena, const ArenaAccess& access);
  ArenaRecord* add(ArenaRecord record);

  const Limits limits_;
  StateDirectory& state_;
  MemoryBudget* const budget_;
  const std::size_t shards_;
  const MachineNodes nodes_;
  IdPool<ArenaId> ids_;
  std::map<std::string, ArenaRecord> by_name_;  // in order of name, as ListArenas gives them
  std::map<ArenaId, ArenaRecord*> by_id_;
  std::map<std::string, ArenaRecord> unfinished_;
  std::map<std::uint32_t, std::uint32_t> remains_of_;  // deleted ones that have memory, by owner
  std::uint64_t capacity_bytes_ = 0;                   // of all, unfinished ones included
  bool commit_elsewhere_ = false;
};

}  // namespace arenad::server
