// What peers are asked, and what is asked about them: trims when an arena runs short, and a new
// count of a session's bytes.
#include "server/core/api/clock.h"
#include "server/core/control/control.h"

namespace arenad::server {

// ---- trims
// ---------------------------------------------------------------------------------------------------------------

std::vector<SessionId> Control::peers_to_ask(ArenaId arena_id) {
  std::vector<SessionId> peers;
  const ArenaRecord* record = arenas_.find(arena_id);
  if (record == nullptr) return peers;
  for (const SessionId id : record->sessions) {
    const SessionRecord* session = sessions_.find(id);
    if (session == nullptr || session->reaping || session->slow_to_trim ||
        session->keepalives.empty())
      continue;
    const auto attached = session->attached.find(arena_id);
    if (attached != session->attached.end() && attached->second == AttachMode::kPeer)
      peers.push_back(id);
  }
  return peers;
}

void Control::ask_peers(ArenaId arena_id, const std::vector<SessionId>& peers,
                        std::function<void()> then) {
  const auto found = trim_rounds_.find(arena_id);
  if (found == trim_rounds_.end()) return;  // the arena was deleted
  TrimRound& round = found->second;
  round.asked_ns = now_ns();
  round.number = ++last_trim_round_;
  round.then = std::move(then);
  for (const SessionId id : peers) {
    const SessionRecord* session = sessions_.find(id);
    if (session == nullptr || session->keepalives.empty()) continue;  // gone in the meantime
    round.asked.insert(id);
    // One of them, should there be several, is the one that the client still has.
    for (const auto& [stream, on_event] : session->keepalives)
      on_event({SessionEvent::Kind::kTrim, round.number, arena_id});
  }
  if (round.asked.empty()) return std::exchange(round.then, {})();
  // A peer that is stopped or busy holds a round up no longer than this, and once: until it
  // answers it is not asked again.
  round.patience.expires_after(
      std::chrono::milliseconds(shared_.tunables.trim_patience_ms.load(std::memory_order_relaxed)));
  round.patience.async_wait(
      [this, arena_id, number = round.number](const boost::system::error_code& stopped) {
        if (stopped || stopping_) return;
        const auto found = trim_rounds_.find(arena_id);
        if (found == trim_rounds_.end() || found->second.number != number ||
            found->second.asked.empty())
          return;
        for (const SessionId id : std::exchange(found->second.asked, {}))
          if (SessionRecord* session = sessions_.find(id)) session->slow_to_trim = true;
        std::exchange(found->second.then, {})();
      });
}

void Control::peer_answered(ArenaId arena_id, SessionId session) {
  const auto found = trim_rounds_.find(arena_id);
  if (found == trim_rounds_.end() || found->second.asked.erase(session) == 0 ||
      !found->second.asked.empty())
    return;
  found->second.patience.cancel();
  std::exchange(found->second.then, {})();
}

void Control::forget_asked(SessionId session) {
  std::vector<ArenaId> arenas;  // what follows may start rounds
  for (const auto& [arena_id, round] : trim_rounds_)
    if (round.asked.contains(session)) arenas.push_back(arena_id);
  for (const ArenaId arena_id : arenas) peer_answered(arena_id, session);
}

void Control::keepalive_trimmed(SessionKey key, std::uint64_t round, ArenaId arena_id) {
  inbox_.push([this, key, round, arena_id] {
    if (stopping_ || arena_id.value > kMaxArenaId) return;
    auto session = sessions_.find(key);
    if (!session.ok()) return;
    (*session)->slow_to_trim = false;
    const auto found = trim_rounds_.find(arena_id);
    if (found != trim_rounds_.end() && found->second.number == round)
      peer_answered(arena_id, key.id);
  });
}

// ---- quotas
// --------------------------------------------------------------------------------------------------------------

void Control::need_recount(SessionId session, ArenaId arena_id, ShardId shard,
                           std::uint64_t ticket) {
  inbox_.push([this, session, arena_id, shard, ticket] {
    recount(session, [this, arena_id, shard, ticket] {
      Shard* const asking = shards_[shard.value].get();
      asking->post([asking, arena_id, ticket] { asking->recounted(arena_id, ticket); });
    });
  });
}

// Leases whole, and what the session holds elsewhere; of arenas without peers what the shards
// counted is exact.
void Control::recount(SessionId session, std::function<void()> then) {
  SessionRecord* record = sessions_.find(session);
  if (stopping_ || record == nullptr || record->reaping)
    return;  // its shards fail what is parked for it
  std::vector<ArenaId> arenas;
  for (const auto& [attached, mode] : record->attached) arenas.push_back(attached);
  const std::int64_t before = shared_.session_bytes.held(session);
  round<SharesByArena>(
      [session](Shard& s) { return s.held_by_arena(session); },
      [this, session, arenas, before, then = std::move(then)](std::vector<SharesByArena> by_shard) {
        with_census(arenas, [this, session, before, then,
                             by_shard = std::move(by_shard)](CensusResult census) {
          std::int64_t bytes = 0;
          for (const SharesByArena& shares : by_shard)
            for (const auto& [arena, share] : shares)
              if (!census.contains(arena)) bytes += share.bytes;
          for (const auto& [arena, counted] : census) {
            if (const auto lease = counted->leases.find(session); lease != counted->leases.end())
              bytes += lease->second.bytes;
            if (const auto held = counted->elsewhere.find(session);
                held != counted->elsewhere.end())
              bytes += held->second;
          }
          // What was reserved and given back meanwhile stays counted.
          shared_.session_bytes.add(session, bytes - before);
          then();
        });
      });
}

}  // namespace arenad::server
