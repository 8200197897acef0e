// Recovery: what a daemon before has left in the state directory is served again.
//
// All of it happens before a shard's thread runs, so nobody is served by halves. The words are the
// truth about blocks, the ledgers about runs, the table of sessions about who may come back:
//   1. arenas are opened; damaged ones are quarantined, those of another layout version left alone;
//   2. each session's process is looked up. Who lives goes on with its key, attachments, leases and
//   limit. Who has no process is
//      given a while to come back. A process that cannot be seen from here lives as long as its
//      attach marks stand;
//   3. runs of the former daemon's heaps, and those that were leased to the dead, are adopted by
//   the shards (Heap::adopt);
//   4. what the dead held elsewhere is reaped (Arena::reap) and drained.
// Killed anywhere in it: every step is taken again by the next daemon.
#include <array>
#include <thread>

#include "server/core/api/clock.h"
#include "server/core/api/random.h"
#include "server/core/api/text.h"
#include "server/core/control/census.h"
#include "server/core/control/control.h"
#include "server/core/shard/run_words.h"
#include "server/core/state/attach_mark.h"

namespace arenad::server {
namespace {

constexpr std::uint32_t kSessionIds = 65535;  // 0 and 65535 are nobody's

// Where sessions that do not live hold blocks, by session.
std::map<SessionId, Footprint> held_by_dead(const Arena& arena, const std::vector<bool>& living) {
  std::array<SessionId, kMaxSharers> sharers{};
  for (std::uint32_t i = 0; i < kMaxSharers; ++i) {
    const std::uint32_t session =
        arena.control().sharers().sessions[i].load(std::memory_order_acquire);
    sharers[i] =
        session < kSessionIds ? SessionId{static_cast<std::uint16_t>(session)} : kNoSession;
  }
  std::map<SessionId, Footprint> dead;
  arena.for_each_run([&](SlabIndex first, RunRecord run) {
    SessionId last;  // neighbours mostly have one holder
    const auto note = [&](SessionId session) {
      if (session == last || session == kNoSession || session.value >= kSessionIds ||
          living[session.value])
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

// Every session that the arena's ledger or control memory names anywhere.
std::vector<bool> named_in(const Arena& arena) {
  std::vector<bool> named(kSessionIds + 1);
  for (std::uint32_t id = 1; id < kSessionIds; ++id)
    named[id] = arena.ledger().attach_mode({static_cast<std::uint16_t>(id)}) != 0;
  for (std::uint32_t heap = 0; heap < arena.ledger().max_heaps(); ++heap)
    named[arena.ledger().heap_owner({static_cast<std::uint16_t>(heap)}).value] = true;
  for (const auto& sharer : arena.control().sharers().sessions)
    if (const std::uint32_t id = sharer.load(std::memory_order_acquire); id < kSessionIds)
      named[id] = true;
  named[0] = named[kSessionIds] = false;
  return named;
}

}  // namespace

struct Control::Recovery {
  std::map<SessionId, KeptSession> kept;
  std::vector<bool> living = std::vector<bool>(kSessionIds + 1);
  std::map<ArenaId, ArenaCensus> censuses;  // of arenas in which sessions with a limit are
  std::uint32_t watched = 0, awaited = 0, unseen = 0, dead = 0;
  std::map<SessionId, ReapResult>
      by_dead;  // what each of the dead gave back; 0: the former daemon's heaps
};

Answer<Nothing> Control::recover() {
  if (!state_.is_open()) return Nothing{};
  const std::uint64_t began = now_ns();
  Recovery recovery;
  if (auto opened = open_arenas(); !opened.ok()) return opened;
  if (auto opened = open_sessions(recovery); !opened.ok()) return opened;
  const std::uint64_t opened_ns = now_ns();
  adopt_runs(recovery);
  reap_dead(recovery);
  arenas_changed();

  if (arenas_.all().empty() && recovery.kept.empty()) {
    log_("state directory: there were no arenas and no sessions");
    return Nothing{};
  }
  std::uint64_t slabs = 0;
  ReapResult given;
  for (const auto& [id, result] : recovery.by_dead) {
    slabs += result.adopted_slabs;
    given += result;
    const auto kept = recovery.kept.find(id);
    if (kept != recovery.kept.end()) {
      log_(concat("session ", id, " '", kept->second.name, "' ended while the daemon was away, ",
                  result.blocks, " blocks of ", bytes_text(result.bytes), " given back"));
    }
  }
  log_(concat("state directory: ", arenas_.all().size(), " arenas of ",
              bytes_text(arenas_.capacity_bytes()), " are served again. Sessions: ",
              recovery.watched, " go on, ", recovery.awaited, " may come back, ", recovery.unseen,
              " live out of sight, ", recovery.dead, " were dead. ", given.blocks, " blocks of ",
              bytes_text(given.bytes), " given back, ", slabs, " slabs taken over. Took ",
              (now_ns() - began) / 1000, " us, ", (opened_ns - began) / 1000, " of them to open"));
  return Nothing{};
}

Answer<Nothing> Control::open_arenas() {
  auto found = state_.scan();
  if (!found.ok()) return found.error();
  for (StateDirectory::Found& f : *found) {
    const LedgerHeader& header = f.ledger.header();
    const std::string name(header.name, ::strnlen(header.name, kMaxNameBytes));
    auto arena = Arena::open(f.files, std::move(f.ledger), header.canary_bytes != 0);
    if (arena.ok()) {
      arenas_.restore(std::move(*arena));
      log_(concat("arena '", name, "' of ",
                  bytes_text(arenas_.find(name)->state->arena->capacity_bytes()), " found"));
    } else if (arena.error().error == Error::kMachineFull) {
      return Failure{Error::kMachineFull,
                     concat("arena '", name, "' cannot be opened: ", arena.error().message)};
    } else {
      state_.quarantine(name, arena.error().message);
    }
  }
  return Nothing{};
}

Answer<Nothing> Control::open_sessions(Recovery& recovery) {
  auto ledger = SessionStore::open(state_.sessions_path());
  const bool lost = !ledger.ok() && ledger.error().error == Error::kInvalidOption;
  if (lost) {
    state_.quarantine_sessions(ledger.error().message);
    ledger = SessionStore::open(state_.sessions_path());
  }
  if (!ledger.ok()) return ledger.error();
  ledger_ = std::move(*ledger);
  recovery.kept = ledger_.all();

  std::vector<bool> named(kSessionIds + 1);
  for (const auto& [name, record] : arenas_.all()) {
    const std::vector<bool> here = named_in(*record.state->arena);
    for (std::uint32_t id = 1; id < kSessionIds; ++id)
      if (here[id]) named[id] = true;
  }
  // With the table their records are gone, but processes may work in the arenas still.
  for (std::uint32_t id = 1; lost && id < kSessionIds; ++id)
    if (named[id]) recovery.kept[{static_cast<std::uint16_t>(id)}].damaged = true;
  for (auto& [id, kept] : recovery.kept) {
    if (kept.damaged && named[id.value]) {
      kept = {};
      kept.key = {id, random_u64()};
      kept.name = concat("lost-", id);
      kept.opened_ns = now_ns();
      kept.bound = true;
      kept.process = mark_of(CallerProcess{});
      if (auto written = ledger_.put(kept); !written.ok()) return written;
      ledger_.bind(id, kept.process, 0, 0);
    }
    if (!kept.damaged && !kept.ending) restore_session(kept, recovery);
    if (!recovery.living[id.value]) ++recovery.dead;
  }
  return Nothing{};
}

void Control::restore_session(const KeptSession& kept, Recovery& recovery) {
  const SessionId id = kept.key.id;
  FoundProcess found;
  if (kept.bound) found = find_again(kept.process);
  if (found.life == Life::kDead) return;
  std::map<ArenaId, AttachMode> attached;
  for (const auto& [name, record] : arenas_.all()) {
    const auto mode = static_cast<AttachMode>(record.state->arena->ledger().attach_mode(id));
    if (mode != AttachMode::kNone && mode <= AttachMode::kPeer) attached[record.id()] = mode;
  }
  // Not to be seen: the marks on what it has mapped say whether it lives. One that maps nothing is
  // harmed by no reaping.
  const MarkCount marks =
      found.life == Life::kUnknown && kept.bound ? count_marks(id, attached) : MarkCount{};
  if (marks.mapped != 0 && marks.standing == 0) return;
  recovery.living[id.value] = true;
  SessionRecord& session = sessions_.restore(kept);
  session.attached = attached;
  std::int64_t bytes = 0;
  for (const auto& [arena_id, mode] : attached) arenas_.find(arena_id)->sessions.insert(id);
  shared_.session_bytes.open(id, kept.limit_bytes);
  if (shared_.session_bytes.limit(id) != 0) {
    for (const auto& [arena_id, mode] : session.attached) {
      if (!recovery.censuses.contains(arena_id))
        recovery.censuses[arena_id] = take_census(*arenas_.find(arena_id)->state->arena);
      const ArenaCensus& census = recovery.censuses[arena_id];
      if (const auto lease = census.leases.find(id); lease != census.leases.end())
        bytes += lease->second.bytes;
      if (const auto held = census.elsewhere.find(id); held != census.elsewhere.end())
        bytes += held->second;
    }
    shared_.session_bytes.add(id, bytes);
  }
  if (found.life == Life::kAlive) {
    session.process = found.identity;
    session.watched = true;
    liveness_.watch(id, std::move(found.pidfd));
    ++recovery.watched;
  } else if (marks.standing != 0) {
    liveness_.watch_by(id, [this, id] {
      const SessionRecord* record = sessions_.find(id);
      const MarkCount now = record == nullptr ? MarkCount{} : count_marks(id, record->attached);
      return now.mapped != 0 && now.standing == 0;
    });
    ++recovery.unseen;
  } else {
    session.bound = false;  // until a handoff binds it again
    liveness_.start_grace(id, shared_.tunables.restart_grace_ms.load(std::memory_order_relaxed));
    ++recovery.awaited;
  }
}

Control::MarkCount Control::count_marks(SessionId session,
                                        const std::map<ArenaId, AttachMode>& attached) {
  MarkCount marks;
  for (const auto& [arena_id, mode] : attached) {
    const ArenaRecord* record = arenas_.find(arena_id);
    if (record == nullptr || mode < AttachMode::kReader) continue;
    ++marks.mapped;
    if (has_attach_mark(record->state->arena->data_fd(), session)) ++marks.standing;
  }
  return marks;
}

// Each shard's part on a thread of its own, which is the shard's own for that while.
void Control::adopt_runs(Recovery& recovery) {
  using Runs = std::map<SessionId,
                        std::vector<SlabIndex>>;  // by dead lessee; 0: of the former daemon's heaps
  struct Part {
    std::shared_ptr<ArenaState> state;
    std::vector<Runs> by_shard;
  };
  std::vector<Part> parts;
  for (const auto& [name, record] : arenas_.all()) {
    Part part{record.state, std::vector<Runs>(shards_.size())};
    std::size_t n = 0;
    record.state->arena->for_each_run([&](SlabIndex first, RunRecord run) {
      const SessionId lessee = run.owner().session ? SessionId{run.owner().id} : kNoSession;
      if (lessee == kNoSession || !recovery.living[lessee.value])
        part.by_shard[n++ % shards_.size()][lessee].push_back(first);
    });
    parts.push_back(std::move(part));
  }
  std::vector<std::map<SessionId, ReapResult>> results(shards_.size());
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    threads.emplace_back([this, i, &parts, &result = results[i]] {
      Shard& shard = *shards_[i];
      for (const Part& part : parts) shard.add_arena(part.state);
      for (const auto& [id, session] : sessions_.all()) {
        shard.add_session(id, session.key.secret);
        for (const auto& [arena, mode] : session.attached) shard.attach_again(id, arena, mode);
      }
      for (Part& part : parts)
        for (auto& [lessee, runs] : part.by_shard[i]) {
          bool done = false;
          shard.adopt(part.state, lessee, std::move(runs),
                      [&, lessee = lessee](const ReapResult& given) {
                        result[lessee] += given;
                        done = true;
                      });
          while (!done) shard.run_inbox();
        }
    });
  }
  threads.clear();
  for (const auto& result : results)
    for (const auto& [dead, given] : result) recovery.by_dead[dead] += given;
}

void Control::reap_dead(Recovery& recovery) {
  for (const auto& [name, record] : arenas_.all()) {
    Arena& arena = *record.state->arena;
    std::vector<bool> named = named_in(arena);
    for (const auto& [dead, touched] : held_by_dead(arena, recovery.living)) {
      recovery.by_dead[dead] += arena.reap(dead, &touched);
      named[dead.value] = true;
    }
    for (std::uint32_t id = 1; id < kSessionIds; ++id)
      if (named[id] && !recovery.living[id]) arena.forget_session({static_cast<std::uint16_t>(id)});
  }
  for (const auto& shard : shards_) shard->drain(kAllArenas);
  // When no arena knows them any more.
  for (const auto& [id, kept] : recovery.kept)
    if (!recovery.living[id.value]) ledger_.clear(id);
  sessions_reaped_ += recovery.dead;
}

}  // namespace arenad::server
