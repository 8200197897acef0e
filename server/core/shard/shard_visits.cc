// What the control thread asks of every shard: tables, housekeeping, facts.
#include <algorithm>

#include "server/core/control/standstill.h"
#include "server/core/shard/shard.h"

namespace arenad::server {

void Shard::add_arena(std::shared_ptr<ArenaState> state) {
  const ArenaId id = state->arena->id();
  tables_.by_id[id.value] = std::make_unique<ArenaSlot>(std::move(state), HeapId{index_.value});
  tables_.arenas.push_back(tables_.by_id[id.value].get());
  retime();
}

void Shard::remove_arena(ArenaId arena_id) {
  ArenaSlot* slot = tables_.arena(arena_id);
  if (slot == nullptr) return;
  const auto owned = std::move(tables_.by_id[arena_id.value]);  // gone for every callback below
  std::erase(tables_.arenas, slot);
  std::erase(tables_.touched, slot);
  for (SessionSlot& session : tables_.sessions)
    std::erase_if(session.attached, [arena_id](const Attached& a) { return a.arena == arena_id; });
  slot->heap.publish();
  add_heap_facts(slot->heap, retired_);
  fail_parked_if(
      *slot, [](const Parked&) { return true; }, Error::kUnknownArena);
}

void Shard::add_session(SessionId id, std::uint64_t secret) {
  if (id.value >= tables_.sessions.size()) tables_.sessions.resize(std::size_t{id.value} + 1);
  tables_.sessions[id.value] = {true, secret, {}, 0};
}

std::vector<std::pair<ArenaId, Footprint>> Shard::remove_session(SessionId id) {
  std::vector<std::pair<ArenaId, Footprint>> touched;
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

void Shard::attach(SessionId session_id, ArenaId arena_id, AttachMode mode) {
  SessionSlot* session = tables_.session(session_id);
  if (session == nullptr || tables_.arena(arena_id) == nullptr) return;
  if (Attached* a = session->find(arena_id)) {
    a->mode = mode;
  } else {
    session->attached.push_back({arena_id, mode, {}, {}});
  }
}

void Shard::attach_again(SessionId session_id, ArenaId arena_id, AttachMode mode) {
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

void Shard::drain(ArenaId arena_id) {
  for (ArenaSlot* slot : tables_.arenas)
    if (arena_id == kAllArenas || slot->id == arena_id) slot->heap.drain();
}

void Shard::trim(ArenaId arena_id) {
  if (ArenaSlot* slot = tables_.arena(arena_id)) slot->heap.trim();
}

HeldShare Shard::held(ArenaId arena_id) {
  HeldShare sum;
  for (const ArenaSlot* slot : tables_.arenas)
    if ((arena_id == kAllArenas || slot->id == arena_id) &&
        !slot->state->counts_from_words.load(std::memory_order_relaxed))
      sum += slot->held;
  return sum;
}

SharesByArena Shard::held_by_arena(SessionId session_id) {
  SharesByArena shares;
  if (const SessionSlot* session = tables_.session(session_id))
    for (const Attached& a : session->attached) shares.emplace_back(a.arena, a.held);
  return shares;
}

SharesBySession Shard::held_by_session(ArenaId arena_id) {
  SharesBySession shares;
  for (std::size_t id = 0; id < tables_.sessions.size(); ++id) {
    if (!tables_.sessions[id].live) continue;
    if (const Attached* a = tables_.sessions[id].find(arena_id))
      shares.emplace_back(SessionId{static_cast<std::uint16_t>(id)}, a->held);
  }
  return shares;
}

void Shard::add_heap_facts(const Heap& heap, ShardFacts& facts) const {
  facts.heap += heap.counters();
  const std::vector<std::uint64_t>& to = heap.remote_frees_to();
  for (std::size_t i = 0; i < std::min<std::size_t>(to.size(), shard_count_); ++i)
    facts.remote_frees_to[i] += to[i];
}

ShardFacts Shard::facts(ArenaId arena_id) {
  ShardFacts facts;
  facts.remote_frees_to.resize(shard_count_);
  if (arena_id == kAllArenas) facts = retired_;
  for (const ArenaSlot* slot : tables_.arenas)
    if (arena_id == kAllArenas || slot->id == arena_id) add_heap_facts(slot->heap, facts);
  facts.shard = index_;
  facts.calls = calls_;
  facts.loop_turns = turns_;
  facts.inbox_messages = inbox_messages_;
  facts.idle_drains = idle_drains_;
  return facts;
}

std::vector<std::pair<ArenaId, ClassUsage>> Shard::usage(ArenaId arena_id) {
  std::vector<std::pair<ArenaId, ClassUsage>> rows;
  for (const ArenaSlot* slot : tables_.arenas) {
    if (arena_id != kAllArenas && slot->id != arena_id) continue;
    for (const ClassUsage& u : slot->heap.usage()) rows.emplace_back(slot->id, u);
  }
  return rows;
}

void Shard::take_part(Standstill& round) {
  publish();
  round.take_part(index_, [this](ArenaId arena_id, VerifyReport& report) {
    if (const ArenaSlot* slot = tables_.arena(arena_id))
      verify_heap(slot->heap, &slot->arena.ledger(), report);
  });
}

}  // namespace arenad::server
