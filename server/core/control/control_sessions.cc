// Sessions: open, attach, keep alive, hand off, list.
#include <fcntl.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "server/core/api/clock.h"
#include "server/core/api/text.h"
#include "server/core/control/control.h"
#include "server/core/state/attach_mark.h"

namespace arenad::server {
namespace {

constexpr std::uint32_t kMaxPage = 1000;

std::string octal(std::uint32_t mode) {
  char text[8];
  std::snprintf(text, sizeof text, "0%03o", mode & 0777);
  return text;
}

}  // namespace

void Control::open_session(std::string name, std::uint64_t limit_bytes, Done<OpenedSession> done) {
  call<OpenedSession>(std::move(done), [this, name = std::move(name),
                                        limit_bytes](Done<OpenedSession> done) {
    if (draining()) return done(refuse(Error::kDraining, "no session is opened"));
    auto opened = sessions_.open(name, now_ns());
    if (!opened.ok()) return done(opened.error());
    const SessionKey key = (*opened)->key;
    KeptSession kept;
    kept.key = key;
    kept.name = (*opened)->name;
    kept.limit_bytes = limit_bytes;
    kept.opened_ns = (*opened)->opened_ns;
    if (auto written = ledger_.put(kept); !written.ok()) {
      sessions_.release(key.id);
      return done(written.error());
    }
    shared_.session_bytes.open(key.id, limit_bytes);
    visit_all([key](Shard& shard) { shard.add_session(key.id, key.secret); },
              [this, key, done = std::move(done)] {
                OpenedSession answer;
                answer.key = key;
                answer.handoff_token = tokens_.issue(key.id, kNoArena, AttachMode::kNone, now_ns());
                answer.handoff_path = handoff_.path();
                const auto grace =
                    shared_.tunables.keepalive_grace_ms.load(std::memory_order_relaxed);
                answer.keepalive_grace_ms = static_cast<std::uint32_t>(grace);
                liveness_.start_grace(key.id, grace);
                done(std::move(answer));
              });
  });
}

void Control::attach_arena(SessionKey key, std::string arena, AttachMode mode,
                           Done<AttachedArena> done) {
  call<AttachedArena>(std::move(done), [this, key, arena = std::move(arena),
                                        mode](Done<AttachedArena> done) {
    auto session = sessions_.find(key);
    if (!session.ok()) return done(session.error());
    if (draining())
      return done(refuse(Error::kDraining, "session ", key.id, " is not attached to '",
                         arena.substr(0, 80), "'"));
    if (mode == AttachMode::kNone || mode > AttachMode::kPeer) {
      return done(refuse(Error::kModeUnavailable, "no attach mode was given"));
    }
    ArenaRecord* record = arenas_.find(arena);
    if (record == nullptr)
      return done(refuse(Error::kUnknownArena, "arena '", arena.substr(0, 80), "' does not exist"));
    const ArenaId id = record->id();
    record->sessions.insert(key.id);
    (*session)->attached[id] = mode;
    Arena& attached_to = *record->state->arena;
    attached_to.ledger().set_attach_mode(key.id, static_cast<std::uint8_t>(mode));
    attached_to.mark_session(key.id, SessionEntry::kLive);  // until Arena::reap
    if (mode == AttachMode::kPeer)
      record->state->counts_from_words.store(true, std::memory_order_relaxed);
    round<HeldShare>(
        [key, id, mode](Shard& shard) {
          shard.attach(key.id, id, mode);
          return shard.held(id);
        },
        [this, key, id, mode, arena, done = std::move(done)](std::vector<HeldShare> shares) {
          HeldShare held;
          for (const HeldShare& share : shares) held += share;
          with_census({id}, [this, key, id, mode, arena, done, held](CensusResult census) {
            // Either may have ended while the shards answered.
            if (auto still = sessions_.find(key); !still.ok()) return done(still.error());
            const ArenaRecord* record = arenas_.find(id);
            if (record == nullptr || record->name() != arena ||
                !record->sessions.contains(key.id)) {
              return done(refuse(Error::kUnknownArena, "arena '", arena, "' does not exist"));
            }
            AttachedArena answer;
            answer.arena = arena_facts(*record, held, census);
            if (mode != AttachMode::kRemote)
              answer.handoff_token = tokens_.issue(key.id, id, mode, now_ns());
            answer.geometry = &record->state->arena->geometry();
            done(std::move(answer));
          });
        });
  });
}

void Control::close_session(SessionKey key, Done<GivenBack> done) {
  call<GivenBack>(std::move(done), [this, key](Done<GivenBack> done) {
    auto session = sessions_.find(key);
    if (!session.ok()) return done(session.error());
    end_session(key.id, EndCause::kClosed, std::move(done));
  });
}

void Control::keepalive_opened(SessionKey key, std::uint64_t stream_id, OnSessionEvent on_event,
                               Done<Nothing> done) {
  call<Nothing>(
      std::move(done), [this, key, stream_id, on_event = std::move(on_event)](Done<Nothing> done) {
        auto session = sessions_.find(key);
        if (!session.ok()) return done(session.error());
        (*session)->keepalives[stream_id] = on_event;
        (*session)->slow_to_trim = false;  // the request may have gone with a stream before
        liveness_.stop_grace(key.id);
        done(Nothing{});
        if (draining()) on_event({SessionEvent::Kind::kDraining});
      });
}

void Control::keepalive_lost(SessionKey key, std::uint64_t stream_id) {
  inbox_.push([this, key, stream_id] {
    if (stopping_) return;
    auto session = sessions_.find(key);
    if (!session.ok() || (*session)->keepalives.erase(stream_id) == 0) return;
    if (!(*session)->keepalives.empty()) return;
    // A bound session lives as long as its process: a socket that hung up proves nothing.
    if (!(*session)->bound) return end_session(key.id, EndCause::kKeepaliveLost, {});
    forget_asked(key.id);
  });
}

// ---- handoff
// -------------------------------------------------------------------------------------------------------------

HandoffGrant Control::redeem(std::string_view token, Answer<CallerProcess> peer) {
  HandoffGrant grant;
  const auto use = tokens_.redeem(token, now_ns());
  SessionRecord* session = use ? sessions_.find(use->session) : nullptr;
  if (session == nullptr || session->reaping) {
    grant.failure = refuse(Error::kBadToken, "the token is forged, used, or older than ",
                           kTokenLifeMs / 1000, " s");
    return grant;
  }
  if (!peer.ok()) {
    grant.failure = peer.error();
    return grant;
  }
  if (session->bound && !session->process.same_process(peer->identity)) {
    grant.failure =
        refuse(Error::kNotPermitted, "session ", session->key.id, " is bound to process ",
               session->pid, ", process ", peer->pid, " must open one of its own");
    return grant;
  }
  if (use->arena != kNoArena) {
    const ArenaRecord* record = arenas_.find(use->arena);
    if (record == nullptr) {
      grant.failure = refuse(Error::kUnknownArena, "the arena of this token was deleted");
      return grant;
    }
    grant.failure = open_files(*record, use->mode, use->session, *peer, grant);
    if (grant.failure.error != Error::kNone) return grant;
    grant.mode = use->mode;
    grant.data_bytes = record->state->arena->capacity_bytes();
    if (grant.control) {
      grant.control_bytes =
          ControlView::file_bytes(grant.data_bytes, record->state->arena->options().max_heaps);
    }
    grant.arena_id = use->arena;
  }
  if (!session->watched) {
    // Written down before the process learns of it.
    ledger_.bind(session->key.id, mark_of(*peer), peer->uid, peer->gid);
    session->bound = session->watched = true;
    session->process = peer->identity;
    session->pid = peer->pid;
    session->uid = peer->uid;
    liveness_.watch(session->key.id, std::move(peer->pidfd));
  }
  return grant;
}

Failure Control::open_files(const ArenaRecord& record, AttachMode mode, SessionId session,
                            const CallerProcess& peer, HandoffGrant& grant) const {
  const bool reader = mode == AttachMode::kReader;
  if (!may_access(record.access, peer, reader ? 4 : 2)) {
    return refuse(Error::kNotPermitted, "process ", peer.pid, " of uid ", peer.uid, " and gid ",
                  peer.gid, " may not attach to arena '", record.name(), "' (owner ",
                  record.access.uid, ", group ", record.access.gid, ", mode ",
                  octal(record.access.mode), ") as ", mode_name(mode));
  }
  const Arena& arena = *record.state->arena;
  // A reader gets a description of its own, opened read-only: it cannot be written, nor, for the
  // file's mode is 0600, reopened for writing. With a state directory everybody gets one, for the
  // mark on it.
  const bool marked = state_.is_open();
  grant.data = UniqueFd(reader || marked ? ::open(concat("/proc/self/fd/", arena.data_fd()).c_str(),
                                                  (reader ? O_RDONLY : O_RDWR) | O_CLOEXEC)
                                         : ::fcntl(arena.data_fd(), F_DUPFD_CLOEXEC, 0));
  if (grant.data && marked && !set_attach_mark(grant.data.get(), session)) grant.data = UniqueFd();
  if (grant.data && mode == AttachMode::kPeer)
    grant.control = UniqueFd(::fcntl(arena.control_fd(), F_DUPFD_CLOEXEC, 0));
  if (!grant.data || (mode == AttachMode::kPeer && !grant.control)) {
    return Failure{
        Error::kMachineFull,
        concat("descriptor of arena '", record.name(), "': ", std::strerror(errno),
               reader || marked ? ": raise the daemon's open file limit, and give it /proc"
                                : ": raise the daemon's open file limit")};
  }
  return {};
}

// ---- list
// ----------------------------------------------------------------------------------------------------------------

SessionFacts Control::session_facts(const SessionRecord& record) const {
  SessionFacts facts;
  facts.id = record.key.id;
  facts.name = record.name;
  facts.pid = record.pid;
  facts.uid = record.uid;
  facts.bound = record.bound;
  facts.keepalive = !record.keepalives.empty();
  facts.reaping = record.reaping;
  facts.age_ms = (now_ns() - record.opened_ns) / kNsPerMs;
  return facts;
}

void Control::list_sessions(std::uint32_t page_size, std::string page_token,
                            Done<Page<SessionFacts>> done) {
  call<Page<SessionFacts>>(std::move(done), [this, page_size, page_token = std::move(page_token)](
                                                Done<Page<SessionFacts>> done) {
    const std::uint32_t most = page_size == 0 ? kMaxPage : std::min(page_size, kMaxPage);
    SessionId after;
    if (!page_token.empty()) {
      const char* last = page_token.data() + page_token.size();
      if (const auto [end, error] = std::from_chars(page_token.data(), last, after.value);
          error != std::errc{} || end != last) {
        return done(Failure{
            Error::kInvalidOption,
            "page_token is not one that ListSessions gave: leave it empty for the first page"});
      }
    }
    std::vector<SessionId> ids;
    auto next = sessions_.all().upper_bound(after);
    for (; next != sessions_.all().end() && ids.size() < most; ++next) ids.push_back(next->first);
    const std::string next_token =
        next == sessions_.all().end() ? std::string() : std::to_string(ids.back().value);
    round<std::vector<SharesByArena>>(
        [ids](Shard& shard) {
          std::vector<SharesByArena> shares;  // by position in ids, then by arena
          for (const SessionId id : ids) shares.push_back(shard.held_by_arena(id));
          return shares;
        },
        [this, ids, next_token,
         done = std::move(done)](std::vector<std::vector<SharesByArena>> by_shard) {
          std::vector<ArenaId>
              arenas;  // those in which only the words say who holds what are counted
          for (const SessionId id : ids)
            if (const SessionRecord* record = sessions_.find(id))
              for (const auto& [arena_id, mode] : record->attached) arenas.push_back(arena_id);
          with_census(arenas, [this, ids, next_token, done,
                               by_shard = std::move(by_shard)](CensusResult census) {
            done(session_page(ids, next_token, by_shard, census));
          });
        });
  });
}

Page<SessionFacts> Control::session_page(const std::vector<SessionId>& ids,
                                         const std::string& next_token,
                                         const std::vector<std::vector<SharesByArena>>& by_shard,
                                         const CensusResult& census) {
  std::map<ArenaId, std::map<SessionId, HeldShare>> counted;  // by arena, by session
  for (const auto& [arena_id, arena] : census) counted[arena_id] = arena->by_session();
  const auto not_negative = [](std::int64_t value) {
    return static_cast<std::uint64_t>(std::max<std::int64_t>(value, 0));
  };
  Page<SessionFacts> page;
  page.next_page_token = next_token;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const SessionRecord* record = sessions_.find(ids[i]);
    if (record == nullptr) continue;  // ended in the meantime
    std::map<ArenaId, HeldShare> held;
    for (const std::vector<SharesByArena>& shares : by_shard)
      for (const auto& [arena, share] : shares[i]) held[arena] += share;
    SessionFacts facts = session_facts(*record);
    facts.limit_bytes = shared_.session_bytes.limit(ids[i]);
    for (const auto& [arena_id, mode] : record->attached) {
      const ArenaRecord* arena = arenas_.find(arena_id);
      AttachmentFacts attachment{arena == nullptr ? std::string() : arena->name(), mode, 0, 0, 0};
      HeldShare share = held[arena_id];
      if (const auto words = census.find(arena_id); words != census.end()) {
        share = counted[arena_id][ids[i]];
        if (const auto lease = words->second->leases.find(ids[i]);
            lease != words->second->leases.end()) {
          attachment.leased_bytes = not_negative(lease->second.bytes);
        }
      }
      attachment.held_blocks = not_negative(share.blocks);
      attachment.held_bytes = not_negative(share.bytes);
      facts.attachments.push_back(std::move(attachment));
    }
    page.items.push_back(std::move(facts));
  }
  return page;
}

}  // namespace arenad::server
