// What the control thread asks of every shard: tables, housekeeping, facts.
#include <algorithm>

#include "server/core/control/standstill.h"
#include "server/core/shard/shard.h"

namespace arenad::server {

void Shard::add_arena(std::shared_ptr<ArenaState> state) {
  const std::uint16_t id = state->arena->id().value;
  tables_.by_id[id] =
      std::make_unique<ArenaSlot>(std::move(state), HeapId{static_cast<std::uint16_t>(index_)});
  tables_.arenas.push_back(tables_.by_id[id].get());
  retime();
}

void Shard::remove_arena(std::uint16_t arena_id) {
  ArenaSlot* slot = tables_.arena(arena_id);
  if (slot == nullptr) return;
  const auto owned = std::move(tables_.by_id[arena_id]);  // gone for every callback below
  std::erase(tables_.arenas, slot);
  std::erase(tables_.touched, slot);
  for (SessionSlot& session : tables_.sessions)
    std::erase_if(session.attached, [arena_id](const Attached& a) { return a.arena == arena_id; });
  slot->heap.publish();
  add_heap_facts(slot->heap, retired_);
  fail_parked_if(
      *slot, [](const Parked&) { return true; }, Error::kUnknownArena);
}

void Shard::add_session(std::uint16_t id, std::uint64_t secret) {
  if (id >= tables_.sessions.size()) tables_.sessions.resize(std::size_t{id} + 1);
  tables_.sessions[id] = {true, secret, {}, 0};
}

std::vector<std::pair<std::uint16_t, Footprint>> Shard::remove_session(std::uint16_t id) {
  std::vector<std::pair<std::uint16_t, Footprint>> touched;
  SessionSlot* session = tables_.session(id);
  if (session == nullptr) return touched;
  for (Attached& a : session->attached) touched.emplace_back(a.arena, std::move(a.touched));
  *session = {};
  publish();
  // By index: a callback may allocate, but arenas come and go only by messages, never inside a
  // callback.
  for (std::size_t i = 0; i < tables_.arenas.size(); ++i) {
    fail_parked_if(
        *tables_.arenas[i], [id](const Parked& p) { return p.session.id == id; },
        Error::kUnknownSession);
  }
  return touched;
}

void Shard::attach(std::uint16_t session_id, std::uint16_t arena_id, AttachMode mode) {
  SessionSlot* session = tables_.session(session_id);
  if (session == nullptr || tables_.arena(arena_id) == nullptr) return;
  if (Attached* a = session->find(arena_id)) {
    a->mode = mode;
  } else {
    session->attached.push_back({arena_id, mode, {}, {}});
  }
}

void Shard::attach_again(std::uint16_t session_id, std::uint16_t arena_id, AttachMode mode) {
  attach(session_id, arena_id, mode);
  SessionSlot* session = tables_.session(session_id);
  Attached* a = session == nullptr ? nullptr : session->find(arena_id);
  if (a == nullptr) return;
  a->touched = Footprint(tables_.arena(arena_id)->arena.unit_count());
  a->touched.add_all();
}

void Shard::publish() {
  for (ArenaSlot* slot : tables_.arenas)
    if (slot->heap.has_unpublished()) slot->heap.publish();
}

void Shard::drain(std::uint16_t arena_id) {
  for (ArenaSlot* slot : tables_.arenas)
    if (arena_id == 0 || slot->id == arena_id) slot->heap.drain();
}

void Shard::trim(std::uint16_t arena_id) {
  if (ArenaSlot* slot = tables_.arena(arena_id)) slot->heap.trim();
}

HeldShare Shard::held(std::uint16_t arena_id) {
  HeldShare sum;
  for (const ArenaSlot* slot : tables_.arenas)
    if ((arena_id == 0 || slot->id == arena_id) &&
        !slot->state->counts_from_words.load(std::memory_order_relaxed))
      sum += slot->held;
  return sum;
}

std::vector<std::pair<std::uint16_t, HeldShare>> Shard::held_by_arena(std::uint16_t session_id) {
  std::vector<std::pair<std::uint16_t, HeldShare>> shares;
  if (const SessionSlot* session = tables_.session(session_id))
    for (const Attached& a : session->attached) shares.emplace_back(a.arena, a.held);
  return shares;
}

std::vector<std::pair<std::uint16_t, HeldShare>> Shard::held_by_session(std::uint16_t arena_id) {
  std::vector<std::pair<std::uint16_t, HeldShare>> shares;
  for (std::size_t id = 0; id < tables_.sessions.size(); ++id) {
    if (!tables_.sessions[id].live) continue;
    if (const Attached* a = tables_.sessions[id].find(arena_id))
      shares.emplace_back(static_cast<std::uint16_t>(id), a->held);
  }
  return shares;
}

void Shard::add_heap_facts(const Heap& heap, ShardFacts& facts) const {
  facts.heap += heap.counters();
  const std::vector<std::uint64_t>& to = heap.remote_frees_to();
  for (std::size_t i = 0; i < std::min<std::size_t>(to.size(), shard_count_); ++i)
    facts.remote_frees_to[i] += to[i];
}

ShardFacts Shard::facts(std::uint16_t arena_id) {
  ShardFacts facts;
  facts.remote_frees_to.resize(shard_count_);
  if (arena_id == 0) facts = retired_;
  for (const ArenaSlot* slot : tables_.arenas)
    if (arena_id == 0 || slot->id == arena_id) add_heap_facts(slot->heap, facts);
  facts.shard = index_;
  facts.calls = calls_;
  facts.loop_turns = turns_;
  facts.inbox_messages = inbox_messages_;
  facts.idle_drains = idle_drains_;
  return facts;
}

std::vector<std::pair<std::uint16_t, ClassUsage>> Shard::usage(std::uint16_t arena_id) {
  std::vector<std::pair<std::uint16_t, ClassUsage>> rows;
  for (const ArenaSlot* slot : tables_.arenas) {
    if (arena_id != 0 && slot->id != arena_id) continue;
    for (const ClassUsage& u : slot->heap.usage()) rows.emplace_back(slot->id, u);
  }
  return rows;
}

void Shard::take_part(Standstill& round) {
  publish();
  round.take_part(index_, [this](std::uint16_t arena_id, VerifyReport& report) {
    if (const ArenaSlot* slot = tables_.arena(arena_id))
      verify_heap(slot->heap, &slot->arena.ledger(), report);
  });
}

}  // namespace arenad::server
