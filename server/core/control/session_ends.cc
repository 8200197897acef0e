#include "server/core/control/session_ends.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "allocator/base/format.h"
#include "server/core/api/text.h"
#include "server/core/control/drain.h"
#include "server/core/control/liveness.h"
#include "server/core/control/trim_rounds.h"

namespace arenad::server {
namespace {

const char* words_for(EndCause cause) {
  switch (cause) {
    case EndCause::kClosed: return "was closed";
    case EndCause::kProcessDied: return "ended with its process";
    case EndCause::kProcessLeft:
      return "ended: its process has no KeepAlive stream and no memory of an arena any more";
    case EndCause::kKeepaliveLost: return "ended with its KeepAlive stream";
    case EndCause::kGraceOver: break;
  }
  return "ended: no KeepAlive stream and no handoff came within the grace";
}

}  // namespace

void SessionEnds::start(SessionId session, EndCause cause) {
  core_.thread.run(end_alone(session, cause));
}

Task<> SessionEnds::end_alone(SessionId session, EndCause cause) {
  auto ended = end(session, cause);
  // A session that ends by itself has no caller to tell.
  [[maybe_unused]] const auto given_back = co_await ended;
}

Task<Answer<GivenBack>> SessionEnds::end(SessionId id, EndCause cause) {
  SessionRecord* const session = core_.sessions.find(id);
  if (session == nullptr || session->reaping) co_return GivenBack();
  Ending ending{id, cause, {}, {}, {}, 0};
  const auto streams = stop_serving(*session);

  // First every shard stops acting for the session. Else an allocation on its way would slip behind
  // the reaper.
  auto forgotten = core_.shards.broadcast([id](Shard& shard) { return shard.remove_session(id); });
  for (const auto& [stream, on_event] : streams)
    on_event({SessionEvent::Kind::kEnded, 0, kNoArena});
  const std::vector<std::vector<std::pair<ArenaId, Footprint>>> by_shard = co_await forgotten;
  for (const auto& footprints : by_shard)
    for (const auto& [arena, footprint] : footprints) ending.footprints[arena].merge(footprint);

  auto adopted = adopt_leases(ending);
  co_await adopted;

  auto quiet = gate_.wait_until_open();
  co_await quiet;
  reap(ending);

  auto drained = drain_shards(ending);
  co_await drained;

  auto quiet_again = gate_.wait_until_open();
  co_await quiet_again;
  release(ending);
  co_return ending.given;
}

// Answers the streams of the session, which are to be told.
std::map<std::uint64_t, OnSessionEvent> SessionEnds::stop_serving(SessionRecord& session) {
  const SessionId id = session.key.id;
  session.reaping = true;
  core_.store.mark_ending(id);
  liveness_.forget(id);
  core_.tokens.drop_session(id);
  return std::exchange(session.keepalives, {});
}

Task<> SessionEnds::adopt_leases(Ending& ending) {
  std::vector<Later<ReapResult>> parts;
  const SessionRecord& session = *core_.sessions.find(ending.session);
  for (const auto& [id, mode] : session.attached) {
    const ArenaRecord* const record = core_.arenas.find(id);
    if (record == nullptr) continue;
    ending.arenas[id] = record->state;
    if (!record->state->counts_from_words.load(std::memory_order_relaxed)) continue;
    std::vector<std::vector<SlabIndex>> shares(core_.shards.size());
    std::size_t runs = 0;
    record->state->arena->for_each_run([&](SlabIndex slab, RunRecord run) {
      if (run.owner() == RunOwner::leased_to(ending.session))
        shares[runs++ % shares.size()].push_back(slab);
    });
    for (std::size_t i = 0; i < shares.size(); ++i) {
      if (shares[i].empty()) continue;
      parts.push_back(core_.shards.adopt(i, record->state, ending.session, std::move(shares[i])));
    }
  }
  for (const Later<ReapResult>& part : parts) {
    const ReapResult result = co_await part;
    ending.add(result);
  }
}

void SessionEnds::reap(Ending& ending) {
  for (const auto& [id, state] : ending.arenas) {
    ArenaRecord* const record = core_.arenas.find(id);
    if (record == nullptr || record->state != state) continue;  // deleted in the meantime
    Footprint& footprint = ending.footprints[id];
    if (state->counts_from_words.load(std::memory_order_relaxed))
      footprint.merge(state->arena->footprint_of(ending.session));
    const ReapResult result = state->arena->reap(ending.session, &footprint);
    record->reaped.blocks += result.blocks;
    record->reaped.bytes += result.bytes;
    record->sessions.erase(ending.session);
    ending.add(result);
  }
  core_.sessions.find(ending.session)->attached.clear();
  log_end(ending);
}

void SessionEnds::log_end(const Ending& ending) {
  std::string line =
      fmt::format("session {} '{}' {}, {} blocks of {} given back", ending.session.value,
                  core_.sessions.name_of(ending.session), words_for(ending.cause),
                  ending.given.blocks, bytes_text(ending.given.bytes));
  if (ending.adopted_runs != 0) line += fmt::format(", {} leases taken over", ending.adopted_runs);
  core_.log(LogLevel::kInfo, line);
}

Task<> SessionEnds::drain_shards(const Ending& ending) {
  std::vector<ArenaId> arenas;
  for (const auto& [id, state] : ending.arenas) arenas.push_back(id);
  auto drained = core_.shards.broadcast([arenas](Shard& shard) {
    for (const ArenaId id : arenas) shard.drain(id);
  });
  co_await drained;
}

void SessionEnds::release(const Ending& ending) {
  for (const auto& [id, state] : ending.arenas) {
    state->arena->forget_session(ending.session);
    state->arena->ledger().set_attach_mode(ending.session, 0);
    const ArenaRecord* const record = core_.arenas.find(id);
    if (record == nullptr || record->state != state) continue;
    if (state->waiting.load(std::memory_order_relaxed) != 0) trim_rounds_.memory_returned(id);
  }
  // Now, so that a round that waited for the peer finds what the peer had.
  trim_rounds_.peer_left(ending.session);
  core_.store.clear(ending.session);  // when no arena knows the session any more
  core_.sessions.release(ending.session);
  if (ending.cause != EndCause::kClosed) ++reaped_;
  // After the answer to whoever closed the session.
  core_.thread.post([this] { drain_.session_ended(); });
}

}  // namespace arenad::server
