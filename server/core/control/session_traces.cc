#include "server/core/control/session_traces.h"

#include <array>
#include <bit>

#include "server/core/shard/run_words.h"

namespace arenad::server {
namespace {

// As the control memory says; kNoSession for what is no session's id.
std::array<SessionId, kMaxSharers> sharers_of(const Arena& arena) {
  std::array<SessionId, kMaxSharers> sharers{};
  for (std::size_t i = 0; i < kMaxSharers; ++i) {
    const std::uint32_t id = arena.control().sharers().sessions[i].load(std::memory_order_acquire);
    if (id < kSessionIdsEnd) sharers[i] = SessionId{static_cast<std::uint16_t>(id)};
  }
  return sharers;
}

}  // namespace

SessionSet sessions_named_in(const Arena& arena) {
  SessionSet named;
  for (std::uint32_t id = 1; id < kSessionIdsEnd; ++id) {
    const SessionId session{static_cast<std::uint16_t>(id)};
    if (arena.ledger().attach_mode(session) != 0) named.insert(session);
  }
  for (std::uint32_t heap = 0; heap < arena.ledger().max_heaps(); ++heap)
    named.insert(arena.ledger().heap_owner(HeapId{static_cast<std::uint16_t>(heap)}));
  for (const SessionId sharer : sharers_of(arena)) named.insert(sharer);
  return named;
}

std::map<SessionId, Footprint> held_by_dead(const Arena& arena, const SessionSet& living) {
  const std::array<SessionId, kMaxSharers> sharers = sharers_of(arena);
  std::map<SessionId, Footprint> dead;
  arena.for_each_run([&](SlabIndex first, RunRecord run) {
    SessionId last = kNoSession;  // neighbours mostly have one holder
    const auto note = [&](SessionId session) {
      if (session == last || session == kNoSession || session.value >= kSessionIdsEnd ||
          living.contains(session))
        return;
      dead.try_emplace(session, arena.unit_count()).first->second.add(first);
      last = session;
    };
    for_each_word(arena, first, cut_of(arena, first, run), [&](BlockWord word) {
      if (word.is_held()) return note(word.holder().session());
      if (!word.is_shared()) return;
      for (std::uint64_t bits = word.sharers(); bits != 0; bits &= bits - 1)
        note(sharers[static_cast<std::size_t>(std::countr_zero(bits))]);
    });
  });
  return dead;
}

}  // namespace arenad::server
