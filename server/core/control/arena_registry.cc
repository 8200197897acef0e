#include "server/core/control/arena_registry.h"

#include "allocator/base/format.h"
#include "server/core/api/random.h"
#include "server/core/api/text.h"

namespace arenad::server {

Answer<std::shared_ptr<ArenaState>> ArenaRegistry::make(const Principal& caller,
                                                        const CreateArenaArgs& args) {
  if (Failure failure = check(caller, args); failure.error != Error::kNone) return failure;
  const auto numa = nodes_.policy_of(args.name, args.numa);
  if (!numa.ok()) return numa.error();
  const auto id = ids_.take();
  if (!id)
    return refuse(Error::kQuotaDaemon, fmt::format("all {} arena ids are in use", kMaxArenaId));

  ArenaConfig options;
  options.id = *id;
  options.name = args.name;
  options.capacity_bytes = args.capacity_bytes;
  options.holder_only = args.holder_only;
  options.pinned = args.pinned;
  options.lock = args.lock;
  options.zero = args.zero;
  options.scrub = args.scrub;
  options.huge_pages = args.huge_pages;
  options.numa = *numa;
  options.numa_nodes = nodes_.all();
  options.debug = args.debug;
  options.map_data = false;  // payload is the clients' business, unless an option needs it
  options.max_heaps = kHeapIds;
  options.budget = budget_;
  ArenaAccess access = args.access;
  if (access.mode == 0) access.mode = ArenaAccess().mode;
  auto arena = state_.create(options, access);
  if (!arena.ok()) {
    ids_.put_back(*id);
    return arena.error();
  }
  for (std::uint16_t shard = 0; shard < shards_; ++shard) {
    if (const Error e = (*arena)->commit_heap({shard}); e != Error::kNone) {
      const std::string why = (*arena)->memory_refusal();
      state_.remove(**arena);
      ids_.put_back(*id);
      return refuse(e, fmt::format("arena '{}' is not created: {}", args.name, why));
    }
  }
  ArenaRecord record = record_of(std::move(*arena), access);
  return unfinished_.emplace(args.name, std::move(record)).first->second.state;
}

ArenaRecord* ArenaRegistry::finish(const std::string& name) {
  ArenaRecord record = std::move(unfinished_.extract(name).mapped());
  Arena& arena = *record.state->arena;
  if (arena.options().pinned) arena.finish_creation();
  return add(std::move(record));
}

void ArenaRegistry::give_up(const std::string& name) {
  const ArenaRecord record = std::move(unfinished_.extract(name).mapped());
  capacity_bytes_ -= record.state->arena->capacity_bytes();
  state_.remove(*record.state->arena);
  ids_.put_back(record.id());
}

void ArenaRegistry::stop_unfinished() {
  for (const auto& [name, record] : unfinished_) record.state->arena->stop_commits();
}

Answer<ArenaRecord*> ArenaRegistry::create(const Principal& caller, const CreateArenaArgs& args) {
  if (const auto made = make(caller, args); !made.ok()) return made.error();
  return finish(args.name);
}

std::uint16_t ArenaRegistry::random_arena_id() {
  return static_cast<std::uint16_t>(1 + random_u64() % kMaxArenaId);
}

// Names come first, so that a message names the arena by a name that can be printed.
Failure ArenaRegistry::check(const Principal& caller, const CreateArenaArgs& args) {
  const std::string& name = args.name;
  if (!valid_name(name))
    return refuse(Error::kInvalidName, fmt::format("arena name '{}'", name.substr(0, 80)));
  if (args.capacity_bytes == 0 || args.capacity_bytes > limits_.max_arena_bytes) {
    return refuse(Error::kInvalidCapacity,
                  fmt::format("capacity of {} bytes for arena '{}', the daemon's limit is {} bytes",
                              args.capacity_bytes, name, limits_.max_arena_bytes));
  }
  if (args.access.mode > 0777) {
    return {Error::kInvalidOption,
            fmt::format("access mode {} for arena '{}': give permission bits as of a file, 1 to "
                        "511 (0777), or 0 for 0660",
                        args.access.mode, name)};
  }
  if (find(name) != nullptr)
    return refuse(Error::kArenaExists, fmt::format("arena '{}' exists", name));
  if (unfinished_.contains(name))
    return refuse(Error::kArenaExists, fmt::format("arena '{}' is being created", name));
  if (const std::string why = state_.refused(name); !why.empty()) {
    return {Error::kArenaExists, fmt::format("arena '{}' exists and is not served, {}", name, why)};
  }
  if (Failure full = check_user(caller, args.access.uid); full.error != Error::kNone) return full;
  return check_quota(args.capacity_bytes);
}

std::uint64_t ArenaRegistry::pinned_bytes_of(std::uint32_t owner_uid) const {
  std::uint64_t bytes = 0;
  for (const auto* const arenas : {&by_name_, &unfinished_})
    for (const auto& [name, record] : *arenas)
      if (const Arena& arena = *record.state->arena;
          record.access.uid == owner_uid && arena.options().pinned)
        bytes += arena.capacity_bytes();
  return bytes;
}

Failure ArenaRegistry::check_user(const Principal& caller, std::uint32_t owner) const {
  if (caller.is_admin) return {};
  const auto owned = [owner](const auto& arena) { return arena.second.access.uid == owner; };
  const auto living = static_cast<std::uint64_t>(std::ranges::count_if(by_name_, owned) +
                                                 std::ranges::count_if(unfinished_, owned));
  const auto found = remains_of_.find(owner);
  const std::uint64_t deleted = found == remains_of_.end() ? 0 : found->second;
  if (living + deleted < limits_.max_user_arenas) return {};
  return refuse(
      Error::kQuotaUser,
      fmt::format("uid {} has {} arenas, which is the limit max_user_arenas{}", owner,
                  living + deleted,
                  deleted == 0 ? std::string()
                               : fmt::format("; {} of them are deleted, and clients have their "
                                             "memory still",
                                             deleted)));
}

Failure ArenaRegistry::check_quota(std::uint64_t capacity_bytes) const {
  if (const std::size_t have = by_name_.size() + unfinished_.size(); have >= limits_.max_arenas) {
    return refuse(Error::kQuotaDaemon,
                  fmt::format("the daemon has {} arenas, which is its limit max_arenas", have));
  }
  const std::uint64_t rounded =
      (capacity_bytes + kSuperslabBytes - 1) / kSuperslabBytes * kSuperslabBytes;
  const std::uint64_t most =
      limits_.max_total_capacity_bytes == 0 ? kNoBound : limits_.max_total_capacity_bytes;
  // The limit may have been lowered since. Restored arenas may then be more than the limit.
  if (capacity_bytes_ <= most && rounded <= most - capacity_bytes_) return {};
  return refuse(Error::kQuotaDaemon,
                fmt::format("the capacities of all arenas are {}, with {} more they would be over "
                            "max_total_capacity_bytes, {}",
                            bytes_text(capacity_bytes_), bytes_text(rounded), bytes_text(most)));
}

void ArenaRegistry::restore(std::unique_ptr<Arena> arena) {
  ids_.reserve(arena->id());
  const LedgerHeader& kept = arena->ledger().header();
  const ArenaAccess access{kept.access_uid, kept.access_gid, kept.access_mode};
  ArenaRecord* const record = add(record_of(std::move(arena), access));
  // No shard has counted what was held before. So the words are read.
  record->state->counts_from_words.store(true, std::memory_order_relaxed);
}

ArenaRecord ArenaRegistry::record_of(std::unique_ptr<Arena> arena, const ArenaAccess& access) {
  ArenaRecord record;
  if (commit_elsewhere_) arena->commit_elsewhere();
  record.state = std::make_shared<ArenaState>(std::move(arena), state_.is_open());
  record.access = access;
  const Arena& made = *record.state->arena;
  record.numa_fallback = made.numa_refusal();
  if (record.numa_fallback.empty()) record.numa_fallback = nodes_.no_effect(made.options().numa);
  capacity_bytes_ += record.state->arena->capacity_bytes();
  return record;
}

ArenaRecord* ArenaRegistry::add(ArenaRecord record) {
  const std::string name = record.name();
  ArenaRecord* stored = &by_name_.emplace(name, std::move(record)).first->second;
  by_id_[stored->id()] = stored;
  return stored;
}

ArenaRecord* ArenaRegistry::find(const std::string& name) {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &found->second;
}

ArenaRecord* ArenaRegistry::find(ArenaId id) {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

ArenaRecord ArenaRegistry::remove(const std::string& name) {
  const auto found = by_name_.find(name);
  ArenaRecord record = std::move(found->second);
  by_id_.erase(record.id());
  by_name_.erase(found);
  capacity_bytes_ -= record.state->arena->capacity_bytes();
  state_.remove(*record.state->arena);
  return record;
}

}  // namespace arenad::server
