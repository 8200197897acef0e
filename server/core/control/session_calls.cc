#include "server/core/control/session_calls.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "server/core/api/clock.h"
#include "server/core/api/text.h"
#include "server/core/control/arena_facts.h"
#include "server/core/control/detaches.h"
#include "server/core/control/drain.h"
#include "server/core/control/evictions.h"
#include "server/core/control/liveness.h"
#include "server/core/control/memory_marks.h"
#include "server/core/control/session_ends.h"
#include "server/core/control/trim_rounds.h"

namespace arenad::server {

Task<Answer<OpenedSession>> SessionCalls::open(Caller caller, std::string name,
                                               std::uint64_t limit_bytes) {
  if (drain_.draining()) co_return refuse(Error::kDraining, "no session is opened");
  const auto opened = core_.sessions.open(caller, name, now_ns());
  if (!opened.ok()) co_return core_.refused(*caller, opened.error());
  const SessionKey key = (*opened)->key;
  KeptSession kept;
  kept.key = key;
  kept.name = (*opened)->name;
  kept.limit_bytes = limit_bytes;
  kept.opened_ns = (*opened)->opened_ns;
  kept.owner_uid = (*opened)->owner->uid;
  kept.owner_gid = (*opened)->owner->gid;
  if (const auto written = core_.store.put(kept); !written.ok()) {
    core_.sessions.release(key.id);
    co_return written.error();
  }
  core_.open_account(key.id, limit_bytes, *caller);
  auto added = core_.shards.broadcast(
      [key, uid = caller->uid](Shard& s) { s.add_session(key.id, key.secret, uid); });
  co_await added;

  OpenedSession answer;
  answer.key = key;
  answer.handoff_token = core_.tokens.issue(key.id, kNoArena, AttachMode::kNone, now_ns());
  answer.handoff_path = handoff_path_;
  const std::uint64_t grace_ms =
      core_.shared.tunables.keepalive_grace_ms.load(std::memory_order_relaxed);
  answer.keepalive_grace_ms = static_cast<std::uint32_t>(grace_ms);
  liveness_.start_grace(key.id, grace_ms);
  co_return answer;
}

Task<Answer<AttachedArena>> SessionCalls::attach(SessionKey key, std::string arena,
                                                 AttachMode mode) {
  const auto session = core_.sessions.find(key);
  if (!session.ok()) co_return session.error();
  if (drain_.draining()) {
    co_return refuse(Error::kDraining, fmt::format("session {} is not attached to '{}'",
                                                   key.id.value, arena.substr(0, 80)));
  }
  if (mode == AttachMode::kNone || mode > AttachMode::kPeer)
    co_return refuse(Error::kModeUnavailable, "no attach mode was given");
  ArenaRecord* found = core_.arenas.find(arena);
  while (found != nullptr && detaches_.under_way(key.id, found->id())) {
    auto detached = detaches_.wait_for(key.id, found->id());
    co_await detached;
    if (const auto still = core_.sessions.find(key); !still.ok()) co_return still.error();
    found = core_.arenas.find(arena);
  }
  if (found == nullptr) co_return unknown_arena(arena);
  const std::shared_ptr<ArenaState> state = found->state;
  const ArenaId id = found->id();
  SessionRecord& attaching = **session;  // a session that was found again is the same record
  const Principal& owner = *attaching.owner;
  const ArenaAccess& access = found->access;
  if (!(mode == AttachMode::kReader ? owner.may_read(access) : owner.may_write(access))) {
    co_return core_.refused(
        owner, not_permitted(owner, *found, fmt::format("attach as {} to", mode_name(mode))));
  }
  if (found->sessions.insert(key.id).second)
    state->lease_epochs.begin_attachment(
        key.id, attaching.restored ? LeaseEpochs::first_after_restart() : LeaseEpoch{});
  attaching.attached[id] = mode;
  state->arena->ledger().set_attach_mode(key.id, static_cast<std::uint8_t>(mode));
  state->arena->mark_session(key.id, SessionEntry::kLive);  // until Arena::reap
  if (mode == AttachMode::kPeer) state->counts_from_words.store(true, std::memory_order_relaxed);

  auto attached = core_.shards.broadcast([key, id, mode](Shard& shard) {
    shard.attach(key.id, id, mode);
    return shard.held(id);
  });
  const std::vector<HeldShare> shares = co_await attached;
  auto counted = core_.count_where_needed(core_.arenas_in(id));
  const CensusResult census = co_await counted;

  // The session or the arena may have ended meanwhile.
  if (const auto still = core_.sessions.find(key); !still.ok()) co_return still.error();
  const ArenaRecord* const record = core_.arenas.find(id);
  if (record == nullptr || record->state != state || !record->sessions.contains(key.id))
    co_return unknown_arena(arena);
  if (core_.attachments.allow()) {
    core_.log(LogLevel::kInfo,
              fmt::format("session {} '{}' of {} is attached to arena '{}' as {}", key.id,
                          attaching.name, owner.text(), record->name(), mode_name(mode)));
  }
  AttachedArena answer;
  answer.arena = arena_facts(*record, sum_of(shares), census);
  if (mode != AttachMode::kRemote)
    answer.handoff_token = core_.tokens.issue(key.id, id, mode, now_ns());
  answer.epoch = state->lease_epochs.present(key.id);
  answer.geometry = &state->arena->geometry();
  answer.ref_slot_bits = state->arena->refs().slot_bits();
  co_return answer;
}

Task<Answer<GivenBack>> SessionCalls::close(SessionKey key) {
  if (const auto session = core_.sessions.find(key); !session.ok()) co_return session.error();
  auto ended = ends_.end(key.id, EndCause::kClosed);
  const Answer<GivenBack> given = co_await ended;
  co_return given;
}

Answer<Nothing> SessionCalls::keepalive_opened(const Caller& caller, SessionKey key,
                                               std::uint64_t stream, OnSessionEvent on_event) {
  const auto session = core_.sessions.find(key);
  if (!session.ok()) return session.error();
  if (!(*session)->belongs_to(*caller)) {
    return core_.refused(*caller, refuse(Error::kNotPermitted,
                                         fmt::format("session {} belongs to {}, not to {}", key.id,
                                                     (*session)->owner->text(), caller->text())));
  }
  // What a former daemon wrote down has no supplementary groups.
  if ((*session)->restored && caller->uid == (*session)->owner->uid) (*session)->owner = caller;
  (*session)->keepalives[stream] = std::move(on_event);
  (*session)->slow_to_trim = false;  // a request may have been lost with the stream before
  liveness_.stop_grace(key.id);
  return Nothing{};
}

void SessionCalls::keepalive_lost(SessionKey key, std::uint64_t stream) {
  const auto session = core_.sessions.find(key);
  if (!session.ok() || (*session)->keepalives.erase(stream) == 0) return;
  if (!(*session)->keepalives.empty()) return;
  if (evictions_.under_way(key.id)) return evictions_.streams_ended(key.id);
  if (!(*session)->bound) return ends_.start(key.id, EndCause::kKeepaliveLost);
  trim_rounds_.peer_left(key.id);
  start_return_grace(key.id);
}

void SessionCalls::start_return_grace(SessionId session) {
  liveness_.start_grace(session,
                        core_.shared.tunables.restart_grace_ms.load(std::memory_order_relaxed));
}

void SessionCalls::grace_over(SessionId id) {
  const SessionRecord* const session = core_.sessions.find(id);
  if (session == nullptr || session->reaping) return;
  if (!session->bound) return ends_.start(id, EndCause::kGraceOver);
  if (memory_marks(core_.arenas, id, session->attached).standing != 0)
    return start_return_grace(id);  // and looks again then
  ends_.start(id, EndCause::kProcessLeft);
}

void SessionCalls::keepalive_trimmed(SessionKey key, std::uint64_t round, ArenaId arena) {
  const auto session = core_.sessions.find(key);
  if (!session.ok()) return;
  (*session)->slow_to_trim = false;
  trim_rounds_.peer_trimmed(key.id, round, arena);
}

}  // namespace arenad::server
