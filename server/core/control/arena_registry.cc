#include "server/core/control/arena_registry.h"

#include <unistd.h>

#include "server/core/api/text.h"

namespace arenad::server {

Answer<ArenaRecord*> ArenaRegistry::create(const CreateArenaArgs& args) {
  if (!valid_name(args.name))
    return refuse(Error::kInvalidName, "arena name '", args.name.substr(0, 80), "'");
  if (args.capacity_bytes == 0 || args.capacity_bytes > limits_.max_arena_bytes) {
    return refuse(Error::kInvalidCapacity, "capacity of ", args.capacity_bytes,
                  " bytes for arena '", args.name, "', the daemon's limit is ",
                  limits_.max_arena_bytes, " bytes");
  }
  if (args.has_access && args.access.mode > 0777) {
    return Failure{Error::kInvalidOption,
                   concat("access mode ", args.access.mode, " for arena '", args.name,
                          "': give permission bits as of a file, 1 to 511 (0777), or 0 for 0666")};
  }
  if (find(args.name) != nullptr)
    return refuse(Error::kArenaExists, "arena '", args.name, "' exists");
  if (const std::string why = state_.refused(args.name); !why.empty()) {
    return Failure{Error::kArenaExists,
                   concat("arena '", args.name, "' exists and is not served, ", why)};
  }
  const std::uint64_t rounded =
      (args.capacity_bytes + kSuperslabBytes - 1) / kSuperslabBytes * kSuperslabBytes;
  if (by_name_.size() >= limits_.max_arenas) {
    return refuse(Error::kQuotaDaemon, "the daemon has ", by_name_.size(),
                  " arenas, which is its limit");
  }
  // Restored arenas may be more than a limit that was lowered since.
  const std::uint64_t most = limits_.max_total_bytes == 0 ? kNoBound : limits_.max_total_bytes;
  if (capacity_bytes_ > most || rounded > most - capacity_bytes_) {
    return refuse(Error::kQuotaDaemon, "the capacities of all arenas are ",
                  bytes_text(capacity_bytes_), ", with ", bytes_text(rounded),
                  " more they would be over the limit of ", bytes_text(most));
  }
  const auto id = ids_.take();
  if (!id) return refuse(Error::kQuotaDaemon, "all ", kMaxArenaId, " arena ids are in use");

  ArenaConfig options;
  options.id = *id;
  options.name = args.name;
  options.capacity_bytes = args.capacity_bytes;
  options.layout = args.canary ? Layout::canaried() : Layout::plain();
  options.holder_only = args.holder_only;
  options.map_data = args.canary;  // payload is the clients' business, canaries are not
  options.max_heaps = kHeapIds;
  ArenaAccess access;
  if (args.has_access) access = args.access;
  if (access.uid == 0) access.uid = ::geteuid();
  if (access.gid == 0) access.gid = ::getegid();
  if (access.mode == 0) access.mode = 0666;
  auto arena = state_.create(options, access);
  if (!arena.ok()) {
    ids_.put_back(*id);
    return arena.error();
  }
  return add(std::move(*arena), access);
}

void ArenaRegistry::restore(std::unique_ptr<Arena> arena) {
  ids_.reserve(arena->id());
  const LedgerHeader& kept = arena->ledger().header();
  const ArenaAccess access{kept.access_uid, kept.access_gid, kept.access_mode};
  ArenaRecord* const record = add(std::move(arena), access);
  // What was held before, no shard has counted: it is read from the words.
  record->state->counts_from_words.store(true, std::memory_order_relaxed);
}

ArenaRecord* ArenaRegistry::add(std::unique_ptr<Arena> arena, const ArenaAccess& access) {
  ArenaRecord record;
  record.state = std::make_shared<ArenaState>(std::move(arena), state_.is_open());
  record.canary = record.state->arena->geometry().layout() == Layout::canaried();
  record.access = access;
  capacity_bytes_ += record.state->arena->capacity_bytes();
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
