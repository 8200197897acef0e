#include "server/core/control/state_recovery.h"

#include <fmt/format.h>

#include <cstring>
#include <thread>
#include <utility>

#include "allocator/base/format.h"
#include "server/core/api/clock.h"
#include "server/core/api/random.h"
#include "server/core/api/text.h"
#include "server/core/control/liveness.h"

namespace arenad::server {

Answer<Nothing> StateRecovery::run() {
  if (!core_.state.is_open()) return Nothing{};
  const std::uint64_t began_ns = now_ns();
  if (auto opened = open_arenas(); !opened.ok()) return opened;
  if (auto opened = open_sessions(); !opened.ok()) return opened;
  const std::uint64_t opened_ns = now_ns();
  adopt_runs();
  reap_dead();
  core_.arenas_changed();
  log_outcome(began_ns, opened_ns);
  return Nothing{};
}

Answer<Nothing> StateRecovery::open_arenas() {
  auto found = core_.state.scan();
  if (!found.ok()) return found.error();
  for (StateDirectory::Found& f : *found) {
    const LedgerHeader& header = f.ledger.header();
    const std::string name(header.name, ::strnlen(header.name, kMaxNameBytes));
    auto arena = Arena::open(f.files, std::move(f.ledger), false, &core_.shared.memory);
    if (arena.ok()) {
      const std::uint64_t bytes = (*arena)->capacity_bytes();
      core_.arenas.restore(std::move(*arena));
      core_.log(LogLevel::kInfo,
                fmt::format("arena '{}' of {} was found", name, bytes_text(bytes)));
      say_if_unlocked(*core_.arenas.find(name)->state->arena);
    } else if (arena.error().error == Error::kMachineFull) {
      return Failure{Error::kMachineFull,
                     fmt::format("arena '{}' cannot be opened: {}", name, arena.error().message)};
    } else {
      core_.state.quarantine(name, arena.error().message);
    }
  }
  return Nothing{};
}

void StateRecovery::say_if_unlocked(const Arena& arena) const {
  if (!arena.options().lock || arena.locked()) return;
  core_.log(LogLevel::kError,
            fmt::format("arena '{}' is served, but its memory is not locked as it was: {}",
                        arena.options().name, arena.memory_refusal()));
}

Answer<Nothing> StateRecovery::open_sessions() {
  bool lost = false;
  if (auto opened = open_store(lost); !opened.ok()) return opened;
  kept_ = core_.store.all();
  const SessionSet named = named_in_arenas();
  // Without the table their records are gone, but their processes may still work in the arenas.
  if (lost) named.for_each([this](SessionId id) { kept_[id].damaged = true; });
  if (lost && !kept_.empty())
    core_.log(LogLevel::kError,
              fmt::format("there is no table of sessions. The arenas name {} sessions: those whose "
                          "processes still have memory of an arena go on without their keys",
                          kept_.size()));
  for (auto& [id, kept] : kept_) {
    if (kept.damaged && named.contains(id)) {
      if (auto written = invent_lost(kept, id); !written.ok()) return written;
    }
    if (!kept.damaged && !kept.ending) restore(kept);
    if (!living_.contains(id)) ++dead_;
  }
  return Nothing{};
}

// `lost`: the table was damaged or missing, and a new one is in its place.
Answer<Nothing> StateRecovery::open_store(bool& lost) {
  auto store = SessionStore::open(core_.state.sessions_path());
  if (!store.ok() && store.error().error == Error::kInvalidOption) {
    core_.state.quarantine_sessions(store.error().message);
    store = SessionStore::open(core_.state.sessions_path());
  }
  if (!store.ok()) return store.error();
  core_.store = std::move(*store);
  lost = core_.store.is_new();
  core_.state.watch_sessions();
  return Nothing{};
}

SessionSet StateRecovery::named_in_arenas() {
  SessionSet named;
  for (const auto& [name, record] : core_.arenas.all())
    named.insert(sessions_named_in(*record.state->arena));
  return named;
}

// A session whose record is lost lives on under a new key, so that its blocks are not taken from a
// process that may live.
Answer<Nothing> StateRecovery::invent_lost(KeptSession& kept, SessionId id) {
  kept = {};
  kept.key = {id, random_u64()};
  kept.name = fmt::format("lost-{}", id.value);
  kept.opened_ns = now_ns();
  kept.bound = true;
  kept.process = mark_of(CallerProcess{});
  if (auto written = core_.store.put(kept); !written.ok()) return written;
  core_.store.bind(id, kept.process, 0, 0);
  return Nothing{};
}

void StateRecovery::restore(const KeptSession& kept) {
  const SessionId id = kept.key.id;
  FoundProcess process;
  if (kept.bound) process = find_again(kept.process);
  if (process.life == Life::kDead) return;
  const Attached attached = attachments_of(id);
  // A process that cannot be seen: the marks on what it has mapped say whether it lives. A process
  // that maps nothing loses nothing when its session is reaped.
  MemoryMarks marks;
  if (process.life == Life::kUnknown && kept.bound)
    marks = memory_marks(core_.arenas, id, attached);
  if (marks.all_gone()) return;
  living_.insert(id);
  SessionRecord& session = core_.sessions.restore(kept, owner_of(kept));
  session.attached = attached;
  for (const auto& [arena, mode] : attached) core_.arenas.find(arena)->sessions.insert(id);
  core_.open_account(id, kept.limit_bytes, *session.owner);
  if (kept.reserve_bytes != 0) {
    core_.shared.account.set_reserve(id, kept.reserve_bytes);
    core_.shared.memory.begin_reserve_again(id, kept.reserve_bytes);
  }
  watch(session, std::move(process), marks);
}

// Supplementary groups come back with the KeepAlive stream.
Caller StateRecovery::owner_of(const KeptSession& kept) const {
  Principal owner;
  owner.uid = kept.owner_uid;
  owner.gid = kept.owner_gid;
  owner.is_admin = core_.shared.root_is_admin && owner.uid == 0;
  return std::make_shared<const Principal>(std::move(owner));
}

StateRecovery::Attached StateRecovery::attachments_of(SessionId session) {
  Attached attached;
  for (const auto& [name, record] : core_.arenas.all()) {
    const auto mode = static_cast<AttachMode>(record.state->arena->ledger().attach_mode(session));
    if (mode != AttachMode::kNone && mode <= AttachMode::kPeer) attached[record.id()] = mode;
  }
  return attached;
}

void StateRecovery::watch(SessionRecord& session, FoundProcess process, const MemoryMarks& marks) {
  const SessionId id = session.key.id;
  const std::uint64_t grace_ms =
      core_.shared.tunables.restart_grace_ms.load(std::memory_order_relaxed);
  if (process.life == Life::kAlive) {
    session.process = process.identity;
    session.watched = true;
    liveness_.watch(id, std::move(process.pidfd));
    liveness_.start_grace(id, grace_ms);  // its client may have closed it while no daemon ran
    ++watched_;
  } else if (marks.stands) {
    liveness_.watch_by(id, [&core = core_, id] {
      const SessionRecord* const record = core.sessions.find(id);
      return record != nullptr && record->keepalives.empty() &&
             !memory_marks(core.arenas, id, record->attached).stands;
    });
    ++unseen_;
  } else {
    session.bound = false;  // until a handoff binds it again
    liveness_.start_grace(id, grace_ms);
    ++awaited_;
  }
}

void StateRecovery::adopt_runs() {
  std::vector<ArenaRuns> arenas = runs_to_adopt();
  std::vector<std::map<SessionId, ReapResult>> given(core_.shards.size());
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < core_.shards.size(); ++i)
      threads.emplace_back([this, i, &arenas, &given] { adopt_share(i, arenas, given[i]); });
  }
  for (const auto& by_dead : given)
    for (const auto& [dead, result] : by_dead) given_[dead] += result;
}

std::vector<StateRecovery::ArenaRuns> StateRecovery::runs_to_adopt() {
  std::vector<ArenaRuns> arenas;
  for (const auto& [name, record] : core_.arenas.all()) {
    ArenaRuns runs{record.state, {}, std::vector<Runs>(core_.shards.size())};
    for (const SessionId session : record.sessions) runs.attached.insert(session);
    std::size_t n = 0;
    record.state->arena->for_each_run([&](SlabIndex first, RunRecord run) {
      const SessionId lessee = run.owner().lessee();
      if (lessee == kNoSession || !living_.contains(lessee))
        runs.by_shard[n++ % runs.by_shard.size()][lessee].push_back(first);
      else
        core_.shared.account.add(lessee, static_cast<std::int64_t>(run.bytes()));
    });
    arenas.push_back(std::move(runs));
  }
  return arenas;
}

void StateRecovery::adopt_share(std::size_t index, std::vector<ArenaRuns>& arenas,
                                std::map<SessionId, ReapResult>& given) {
  Shard& shard = core_.shards[index];
  for (const ArenaRuns& arena : arenas) shard.add_arena(arena.state);
  for (const auto& [id, session] : core_.sessions.all()) {
    shard.add_session(id, session.key.secret, session.owner->uid, session.owner->is_admin);
    for (const auto& [arena, mode] : session.attached) shard.attach_again(id, arena, mode);
  }
  for (ArenaRuns& arena : arenas) {
    for (auto& [lessee, runs] : arena.by_shard[index]) {
      bool done = false;
      shard.adopt(arena.state, lessee, {kNoSession, &arena.attached}, std::move(runs),
                  [&result = given[lessee], &done](const ReapResult& adopted) {
                    result += adopted;
                    done = true;
                  });
      while (!done) shard.run_inbox();
    }
  }
}

void StateRecovery::reap_dead() {
  for (const auto& [name, record] : core_.arenas.all()) {
    Arena& arena = *record.state->arena;
    for (const auto& [dead, result] : arena.reap_all_but(living_)) given_[dead] += result;
    sessions_named_in(arena).for_each([&](SessionId id) {
      if (!living_.contains(id)) arena.forget_session(id);
    });
  }
  for (std::size_t i = 0; i < core_.shards.size(); ++i) core_.shards[i].drain(kAllArenas);
  // Now no arena knows them any more.
  for (const auto& [id, kept] : kept_)
    if (!living_.contains(id)) core_.store.clear(id);
}

ReapResult StateRecovery::given_back() const {
  ReapResult sum;
  for (const auto& [id, result] : given_) sum += result;
  return sum;
}

void StateRecovery::log_outcome(std::uint64_t began_ns, std::uint64_t opened_ns) {
  if (core_.arenas.all().empty() && kept_.empty())
    return core_.log(LogLevel::kInfo, "state directory: there were no arenas and no sessions");
  const ReapResult sum = given_back();
  for (const auto& [id, result] : given_) {
    const auto kept = kept_.find(id);
    if (kept == kept_.end()) continue;
    core_.log(
        LogLevel::kInfo,
        fmt::format("session {} '{}' ended while the daemon was away, {} blocks of {} given back",
                    id.value, kept->second.name, result.blocks, bytes_text(result.bytes)));
  }
  core_.log(
      LogLevel::kInfo,
      fmt::format("state directory: {} arenas of {} are served again. Sessions: {} go on, {} may "
                  "come back, {} live out of sight, {} were dead. {} blocks of {} given back, {} "
                  "slabs taken over. Took {} us, {} of them to open",
                  core_.arenas.all().size(), bytes_text(core_.arenas.capacity_bytes()), watched_,
                  awaited_, unseen_, dead_, sum.blocks, bytes_text(sum.bytes), sum.adopted_slabs,
                  (now_ns() - began_ns) / 1000, (opened_ns - began_ns) / 1000));
}

}  // namespace arenad::server
