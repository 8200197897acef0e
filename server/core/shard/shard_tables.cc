#include "server/core/shard/shard_tables.h"

#include <utility>

#include "allocator/base/format.h"
#include "server/core/api/text.h"

namespace arenad::server {

Failure ShardTables::refusal(Error e, SessionKey key, ArenaId arena_id) {
  const ArenaSlot* slot = arena(arena_id);
  const auto deleted = deleted_.find(arena_id);
  if (e == Error::kUnknownArena && slot == nullptr && deleted != deleted_.end())
    return refuse(e, fmt::format("arena '{}' (id {}) was deleted", deleted->second, arena_id));
  const std::string name = slot == nullptr
                               ? fmt::format("arena id {}", arena_id)
                               : fmt::format("arena '{}' (id {})", slot->name(), arena_id);
  switch (e) {
    case Error::kUnknownSession:
      return refuse(
          e, fmt::format("session {} does not exist, has ended, or its secret is another", key.id));
    case Error::kEvicted: return refuse(e, fmt::format("session {} was evicted", key.id));
    case Error::kUnknownArena: return refuse(e, fmt::format("{} does not exist", name));
    case Error::kNotAttached: {
      SessionSlot* const holder = session(key.id);
      const bool leaving = holder != nullptr && holder->find(arena_id) != nullptr;
      return refuse(e, fmt::format("session {} is {} {}", key.id,
                                   leaving ? "just detached from" : "not attached to", name));
    }
    case Error::kReadOnly: {
      SessionSlot* const holder = session(key.id);
      const Attached* attached = holder == nullptr ? nullptr : holder->find(arena_id);
      const AttachMode mode = attached == nullptr ? AttachMode::kNone : attached->mode;
      if (mode == AttachMode::kReader)
        return refuse(e, fmt::format("session {} is attached to {} as reader", key.id, name));
      return {e, fmt::format(
                     "session {} is attached to {} as {}, only a peer leases: attach it as peer",
                     key.id, name, mode_name(mode))};
    }
    default: return refuse(e, fmt::format("session {}, {}", key.id, name));
  }
}

Answer<Nothing> ShardTables::admit_lease(const LeaseCaller& caller, Access& out) {
  const SessionId session = caller.session.id;
  if (const Error e = admit(caller.session, caller.arena_id, Need::kPeer, out); e != Error::kNone)
    return refusal(e, caller.session, caller.arena_id);
  const LeaseEpochs& epochs = out.slot->state->lease_epochs;
  if (!epochs.is_present(session, caller.epoch))
    return epochs.stale(session, caller.epoch, out.slot->name());
  return Nothing{};
}

void ShardTables::add_arena(std::shared_ptr<ArenaState> state) {
  const ArenaId id = state->arena->id();
  by_id_[id.value] = std::make_unique<ArenaSlot>(std::move(state), HeapId{shard_.value});
  deleted_.erase(id);
  ArenaSlot* const slot = by_id_[id.value].get();
  arenas_.push_back(slot);
  slot->heap.when_first_slab_comes([this, slot] {
    if (!std::exchange(slot->in_use, true)) in_use_.push_back(slot);
  });
}

std::unique_ptr<ArenaSlot> ShardTables::remove_arena(ArenaId id) {
  ArenaSlot* const slot = arena(id);
  if (slot == nullptr) return nullptr;
  std::erase(arenas_, slot);
  std::erase(in_use_, slot);
  deleted_[id] = slot->name();
  for (SessionSlot& session : sessions_)
    std::erase_if(session.attached, [id](const Attached& a) { return a.arena == id; });
  return std::move(by_id_[id.value]);
}

void ShardTables::add_session(SessionId id, std::uint64_t secret, std::uint32_t uid,
                              bool of_admin) {
  if (id.value >= sessions_.size()) sessions_.resize(std::size_t{id.value} + 1);
  sessions_[id.value] = {true, false, secret, uid, of_admin, {}};
}

std::vector<Attached> ShardTables::remove_session(SessionId id, Error why) {
  SessionSlot* const slot = session(id);
  if (slot == nullptr) return {};
  SessionSlot left = std::exchange(*slot, {});
  slot->evicted = why == Error::kEvicted;
  if (slot->evicted) slot->secret = left.secret;
  return std::move(left.attached);
}

Error ShardTables::no_session(SessionKey key) const {
  if (key.id.value >= sessions_.size()) return Error::kUnknownSession;
  const SessionSlot& slot = sessions_[key.id.value];
  return slot.evicted && slot.secret == key.secret ? Error::kEvicted : Error::kUnknownSession;
}

void ShardTables::attach(SessionId session_id, ArenaId arena_id, AttachMode mode) {
  SessionSlot* const slot = session(session_id);
  if (slot == nullptr || arena(arena_id) == nullptr) return;
  if (Attached* attached = slot->find(arena_id)) {
    attached->mode = mode;
  } else {
    slot->attached.push_back({arena_id, mode, {}, {}});
  }
}

Attached* ShardTables::attachment(SessionId session_id, const ArenaState& state) {
  const ArenaId id = state.arena->id();
  SessionSlot* const session_slot = session(session_id);
  const ArenaSlot* const slot = arena(id);
  if (session_slot == nullptr || slot == nullptr || slot->state.get() != &state) return nullptr;
  return session_slot->find(id);
}

Footprint ShardTables::detach(SessionId session_id, const ArenaState& state) {
  Attached* const attached = attachment(session_id, state);
  if (attached == nullptr) return {};
  Footprint footprint = std::move(attached->footprint);
  std::vector<Attached>& all = session(session_id)->attached;
  all.erase(all.begin() + (attached - all.data()));
  return footprint;
}

void ShardTables::attach_again(SessionId session_id, ArenaId arena_id, AttachMode mode) {
  attach(session_id, arena_id, mode);
  SessionSlot* const slot = session(session_id);
  Attached* const attached = slot == nullptr ? nullptr : slot->find(arena_id);
  if (attached == nullptr) return;
  attached->footprint = Footprint(arena(arena_id)->arena.unit_count());
  attached->footprint.add_all();
}

}  // namespace arenad::server
