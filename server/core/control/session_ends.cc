#include "server/core/control/session_ends.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "server/core/api/text.h"
#include "server/core/control/detaches.h"
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
    case EndCause::kEvicted: return "has ended: it was evicted";
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
  SessionReap::Work work;
  work.session = id;
  const auto streams = stop_serving(*session, cause);

  // First every shard stops acting for the session. Else an allocation on its way would slip behind
  // the reaper.
  const Error why = cause == EndCause::kEvicted ? Error::kEvicted : Error::kUnknownSession;
  auto forgotten =
      core_.shards.broadcast([id, why](Shard& shard) { return shard.remove_session(id, why); });
  for (const auto& [stream, on_event] : streams)
    on_event({.kind = SessionEvent::Kind::kEnded, .why = why});
  const std::vector<std::vector<std::pair<ArenaId, Footprint>>> by_shard = co_await forgotten;
  for (const auto& footprints : by_shard)
    for (const auto& [arena, footprint] : footprints) work.footprints[arena].merge(footprint);

  auto detached = detaches_.wait_for_all(id);
  co_await detached;
  for (const auto& [arena, mode] : session->attached)
    if (const ArenaRecord* record = core_.arenas.find(arena)) work.arenas[arena] = record->state;

  auto taken = reap_.take_back(work);
  co_await taken;
  log_end(work, cause);
  auto gone = reap_.forget(work);
  co_await gone;
  release(id, cause);
  co_return work.given;
}

// Answers the streams of the session, which are to be told.
std::map<std::uint64_t, OnSessionEvent> SessionEnds::stop_serving(SessionRecord& session,
                                                                  EndCause cause) {
  const SessionId id = session.key.id;
  session.reaping = true;
  if (cause == EndCause::kEvicted) core_.sessions.remember_evicted(session.key);
  core_.store.mark_ending(id);
  core_.shared.memory.end_reserve(id);
  liveness_.forget(id);
  core_.tokens.drop_session(id);
  return std::exchange(session.keepalives, {});
}

void SessionEnds::log_end(const SessionReap::Work& work, EndCause cause) {
  core_.log(LogLevel::kInfo, fmt::format("session {} '{}' {}{}", work.session.value,
                                         core_.sessions.name_of(work.session), words_for(cause),
                                         SessionReap::outcome(work)));
}

void SessionEnds::release(SessionId session, EndCause cause) {
  for (const auto& [name, record] : core_.arenas.all()) record.state->lease_epochs.forget(session);
  // Now, so that a round that waited for the peer finds what the peer had.
  trim_rounds_.peer_left(session);
  core_.store.clear(session);  // when no arena knows the session any more
  core_.close_account(session);
  core_.sessions.release(session);
  if (cause != EndCause::kClosed) ++reaped_;
  // After the answer to whoever closed the session.
  core_.thread.post([this] { drain_.session_ended(); });
}

}  // namespace arenad::server
