#include "server/core/control/session_calls.h"

#include <utility>
#include <vector>

#include "allocator/base/format.h"
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
namespace {

// Asks for control memory for the session. Within its reserve there is some.
Error mark(Arena& arena, SessionId session) {
  const HostBudget::Asking asking(session);
  return arena.mark_session(session, SessionEntry::kLive);
}

}  // namespace

Task<Answer<OpenedSession>> SessionCalls::open(Caller caller, OpenSessionArgs args) {
  if (drain_.draining()) co_return refuse(Error::kDraining, "no session is opened");
  const auto opened = core_.sessions.open(caller, args.name, now_ns());
  if (!opened.ok()) co_return core_.refused(*caller, opened.error());
  const SessionKey key = (*opened)->key;
  core_.open_account(key.id, args.limit_bytes, *caller);
  if (args.reserve_bytes != 0) {
    if (Failure full = take_reserve(**opened, args.reserve_bytes); full.error != Error::kNone) {
      drop(key.id);
      co_return core_.refused(*caller, std::move(full));
    }
  }
  KeptSession kept;
  kept.key = key;
  kept.name = (*opened)->name;
  kept.limit_bytes = args.limit_bytes;
  kept.reserve_bytes = args.reserve_bytes;
  kept.opened_ns = (*opened)->opened_ns;
  kept.owner_uid = (*opened)->owner->uid;
  kept.owner_gid = (*opened)->owner->gid;
  if (const auto written = core_.store.put(kept); !written.ok()) {
    drop(key.id);
    co_return written.error();
  }
  auto added =
      core_.shards.broadcast([key, uid = caller->uid, of_admin = caller->is_admin](Shard& s) {
        s.add_session(key.id, key.secret, uid, of_admin);
      });
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

Failure SessionCalls::take_reserve(SessionRecord& session, std::uint64_t bytes) {
  Account& account = core_.shared.account;
  const std::uint64_t limit = account.limit_bytes(session.key.id);
  if (limit != 0 && bytes > limit) {
    return {Error::kInvalidOption,
            fmt::format("reserve_bytes is {}, and the session may have {}: ask for a smaller "
                        "reserve, or raise limit_bytes and the daemon's max_session_bytes",
                        bytes_text(bytes), bytes_text(limit))};
  }
  if (!session.owner->is_admin) {
    const std::uint64_t have = reserved_by(session.owner->uid), most = account.user_limit_bytes();
    if (bytes > most || have > most - bytes)
      return refuse(
          Error::kQuotaUser,
          fmt::format("the sessions of uid {} have reserved {} of the limit max_user_bytes, "
                      "{}; a reserve of {} would go over it",
                      session.owner->uid, bytes_text(have), bytes_text(most), bytes_text(bytes)));
  }
  account.set_reserve(session.key.id, bytes);
  if (Failure full = core_.shared.memory.begin_reserve(session.key.id, bytes);
      full.error != Error::kNone)
    return refuse(full.error, fmt::format("no reserve of {} for a session: {}", bytes_text(bytes),
                                          full.message));
  session.reserve_bytes = bytes;
  return {};
}

std::uint64_t SessionCalls::reserved_by(std::uint32_t uid) {
  std::uint64_t sum = 0;
  for (const auto& [id, session] : core_.sessions.all())
    if (session.owner->uid == uid && !session.owner->is_admin && !session.reaping)
      sum += session.reserve_bytes;
  return sum;
}

void SessionCalls::drop(SessionId session) {
  core_.shared.memory.end_reserve(session);
  core_.close_account(session);
  core_.sessions.release(session);
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
  // Stays until Arena::reap. Without it recovery has a hint less, but a peer would die.
  const Error marked = mark(*state->arena, key.id);
  if (marked != Error::kNone && mode == AttachMode::kPeer) {
    co_return refuse(marked, fmt::format("no memory for session {} as a peer of arena '{}'; {}",
                                         key.id, found->name(), state->arena->memory_refusal()));
  }
  if (found->sessions.insert(key.id).second)
    state->lease_epochs.begin_attachment(
        key.id, attaching.restored ? LeaseEpochs::first_after_restart() : LeaseEpoch{});
  attaching.attached[id] = mode;
  state->arena->ledger().set_attach_mode(key.id, static_cast<std::uint8_t>(mode));
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
  if (memory_marks(core_.arenas, id, session->attached).stands)
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
