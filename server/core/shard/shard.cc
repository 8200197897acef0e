#include "server/core/shard/shard.h"

#include <algorithm>

#include "server/core/control/standstill.h"

namespace arenad::server {

Shard::Shard(ShardId index, std::uint32_t shard_count, SharedState& shared)
    : index_(index), shared_(shared), counters_(index, shard_count, tables_) {}

void Shard::end_turn() {
  turn_.for_each([this](const ArenaSlot& slot) { shared_.control->kick_maintenance(slot.id); });
  turn_.end([this](ArenaSlot& slot) { waits_.memory_came_back(slot); });
}

std::uint64_t Shard::tick(std::uint64_t now) {
  if (!alarm_.due(now)) return alarm_.next_ns();
  const std::uint64_t next_wait = waits_.tick(now);
  alarm_.set(std::min(next_wait, idle_drain_.tick(now)));
  return alarm_.next_ns();
}

void Shard::retime() {
  alarm_.set(0);
  idle_drain_.restart();
}

void Shard::add_arena(std::shared_ptr<ArenaState> state) {
  tables_.add_arena(std::move(state));
  retime();
}

void Shard::remove_arena(ArenaId arena_id) {
  const std::unique_ptr<ArenaSlot> slot = tables_.remove_arena(arena_id);
  if (slot == nullptr) return;
  turn_.forget(*slot);
  slot->heap.publish();
  slot->heap.forgive_payments();
  account_.settle(*slot);
  counters_.retire(slot->heap);
  waits_.forget(*slot);
  waits_.fail_all(*slot, Error::kUnknownArena);
}

std::vector<std::pair<ArenaId, Footprint>> Shard::remove_session(SessionId id, Error why) {
  if (tables_.session(id) == nullptr) return {};
  std::vector<std::pair<ArenaId, Footprint>> footprints;
  for (Attached& attached : tables_.remove_session(id, why))
    footprints.emplace_back(attached.arena, std::move(attached.footprint));
  publish();
  waits_.fail_session(id, why);
  return footprints;
}

HeldShare Shard::begin_leaving(SessionId session, const ArenaState& state) {
  Attached* const attached = tables_.attachment(session, state);
  if (attached == nullptr) return {};
  attached->leaving = true;
  const HeldShare held = attached->held;
  waits_.fail_session_in(*tables_.arena(state.arena->id()), session, Error::kNotAttached);
  return held;
}

void Shard::stay(SessionId session, const ArenaState& state) {
  if (Attached* const attached = tables_.attachment(session, state)) attached->leaving = false;
}

Footprint Shard::leave(SessionId session, const ArenaState& state) {
  publish();
  return tables_.detach(session, state);
}

void Shard::publish() {
  turn_.for_each([](ArenaSlot& slot) {
    if (slot.heap.has_unpublished()) slot.heap.publish();
  });
}

void Shard::drain(ArenaId arena_id) {
  const auto drain = [this](ArenaSlot& slot) {
    slot.heap.drain();
    account_.settle(slot);
  };
  arena_id == kAllArenas ? tables_.for_arenas_in_use(drain) : tables_.for_arenas(arena_id, drain);
}

void Shard::trim(ArenaId arena_id) {
  ArenaSlot* const slot = tables_.arena(arena_id);
  if (slot == nullptr) return;
  slot->heap.trim();
  account_.settle(*slot);
}

void Shard::take_part(Standstill& standstill) {
  publish();
  standstill.take_part(index_, [this](ArenaId arena_id, VerifyReport& report) {
    if (const ArenaSlot* slot = tables_.arena(arena_id))
      verify_heap(slot->heap, &slot->arena.ledger(), report);
  });
}

}  // namespace arenad::server
