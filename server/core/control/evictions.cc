#include "server/core/control/evictions.h"

#include <fmt/format.h>

#include "allocator/base/format.h"
#include "server/core/api/text.h"
#include "server/core/control/session_ends.h"

namespace arenad::server {

Task<Answer<GivenBack>> Evictions::evict(Caller caller, SessionId id) {
  if (Failure failure = core_.must_be_admin(*caller, "EvictSession"); failure.error != Error::kNone)
    co_return failure;
  const SessionRecord* const session = core_.sessions.find(id);
  if (session == nullptr || session->reaping || under_way(id)) {
    co_return refuse(Error::kUnknownSession,
                     fmt::format("session {} {}", id,
                                 session == nullptr ? "does not exist" : "is ending already"));
  }
  core_.log(LogLevel::kInfo, fmt::format("session {} '{}' of {} is evicted by {}", id,
                                         session->name, session->owner->text(), caller->text()));
  const Later<Nothing> quiet;
  under_way_.emplace(id, quiet);
  const auto streams = session->keepalives;  // a stream may end inside the call
  for (const auto& [stream, on_event] : streams) on_event({SessionEvent::Kind::kEvicted});
  if (streams.empty()) {
    quiet.set({});
  } else {
    core_.thread.run(lose_patience(quiet));
  }
  const SessionKey key = session->key;
  co_await quiet;
  under_way_.erase(id);
  // The process may have ended meanwhile.
  const SessionRecord* const now = core_.sessions.find(id);
  if (now == nullptr || now->key.secret != key.secret) co_return GivenBack();
  auto ended = ends_.end(id, EndCause::kEvicted);
  const Answer<GivenBack> given = co_await ended;
  co_return given;
}

void Evictions::streams_ended(SessionId session) {
  const auto found = under_way_.find(session);
  if (found != under_way_.end() && !found->second.is_set()) found->second.set({});
}

Task<> Evictions::lose_patience(Later<Nothing> quiet) {
  auto over = core_.thread.sleep(kPatience);
  co_await over;
  if (!quiet.is_set()) quiet.set({});
}

}  // namespace arenad::server
