#include "server/core/control/control.h"

#include "server/core/control/state_recovery.h"

namespace arenad::server {

Control::Control(ShardGroup::Shards& shards, SharedState& shared, const Limits& limits,
                 const std::string& handoff_path, StateDirectory state, Log log,
                 std::function<void()> on_state_lost)
    : core_(shards, shared, limits, std::move(state), std::move(log)),
      drain_(core_),
      free_rounds_(core_),
      trim_rounds_(core_),
      liveness_(
          core_.thread.io(),
          [this](SessionId session, Liveness::Loss loss) { end_lost_session(session, loss); }),
      reap_(core_, gate_, trim_rounds_),
      detaches_(core_, reap_),
      ends_(core_, liveness_, reap_, detaches_, trim_rounds_, drain_),
      evictions_(core_, ends_),
      remains_(core_),
      arena_calls_(core_, drain_, trim_rounds_, remains_),
      session_calls_(core_, handoff_path, drain_, liveness_, ends_, evictions_, detaches_,
                     trim_rounds_),
      session_list_(core_),
      audits_(core_, gate_),
      upkeep_(core_, free_rounds_, trim_rounds_),
      facts_(core_, ends_),
      state_watch_(core_, std::move(on_state_lost)),
      desk_(core_, liveness_),
      handoff_(core_.thread.io(), handoff_path, desk_) {
  core_.arenas.commit_elsewhere();
}

Control::~Control() {
  stop();
  core_.thread.destroy_sequences();
}

Answer<Nothing> Control::start() {
  // The handoff socket first. When another daemon answers there, its files stay as they are.
  if (auto opened = handoff_.open(); !opened.ok()) return opened.error();
  StateRecovery recovery(core_, liveness_);
  if (auto recovered = recovery.run(); !recovered.ok()) return recovered.error();
  ends_.count_reaped(recovery.dead_sessions());
  core_.maintenance.start();
  core_.census.start();
  core_.thread.start();
  state_watch_.start();
  return Nothing{};
}

void Control::stop() {
  drain_.mark();
  core_.thread.stop([this] {
    handoff_.close();
    core_.arenas.stop_unfinished();
    liveness_.forget_all();
    core_.shards.broadcast([](Shard& shard) { shard.fail_parked(Error::kDraining); });
  });
  core_.maintenance.stop();
  core_.commits.stop();
  core_.census.stop();
}

void Control::end_lost_session(SessionId session, Liveness::Loss loss) {
  if (loss == Liveness::Loss::kGraceOver) return session_calls_.grace_over(session);
  ends_.start(session, EndCause::kProcessDied);
}

// --- arenas

void Control::create_arena(Caller caller, CreateArenaArgs args, Done<ArenaFacts> done) {
  core_.thread.call(std::move(done),
                    [this, caller = std::move(caller), args = std::move(args)]() mutable {
                      return arena_calls_.create(std::move(caller), std::move(args));
                    });
}

void Control::get_arena(Caller caller, std::string name, Done<ArenaFacts> done) {
  core_.thread.call(std::move(done),
                    [this, caller = std::move(caller), name = std::move(name)]() mutable {
                      return arena_calls_.get(std::move(caller), std::move(name));
                    });
}

void Control::list_arenas(Caller caller, std::uint32_t page_size, std::string page_token,
                          Done<Page<ArenaFacts>> done) {
  core_.thread.call(std::move(done), [this, caller = std::move(caller), page_size,
                                      page_token = std::move(page_token)]() mutable {
    return arena_calls_.list(std::move(caller), page_size, std::move(page_token));
  });
}

void Control::delete_arena(Caller caller, std::string name, bool force, Done<Nothing> done) {
  core_.thread.call(std::move(done),
                    [this, caller = std::move(caller), name = std::move(name), force]() mutable {
                      return arena_calls_.remove(std::move(caller), std::move(name), force);
                    });
}

// --- sessions

void Control::open_session(Caller caller, OpenSessionArgs args, Done<OpenedSession> done) {
  core_.thread.call(std::move(done),
                    [this, caller = std::move(caller), args = std::move(args)]() mutable {
                      return session_calls_.open(std::move(caller), std::move(args));
                    });
}

void Control::attach_arena(SessionKey key, std::string arena, AttachMode mode,
                           Done<AttachedArena> done) {
  core_.thread.call(std::move(done), [this, key, arena = std::move(arena), mode]() mutable {
    return session_calls_.attach(key, std::move(arena), mode);
  });
}

void Control::detach_arena(SessionKey key, ArenaId arena_id, LeaseEpoch epoch, bool give_up_blocks,
                           Done<GivenBack> done) {
  core_.thread.call(std::move(done), [this, key, arena_id, epoch, give_up_blocks] {
    return detaches_.detach(key, arena_id, epoch, give_up_blocks);
  });
}

void Control::close_session(SessionKey key, Done<GivenBack> done) {
  core_.thread.call(std::move(done), [this, key] { return session_calls_.close(key); });
}

void Control::list_sessions(Caller caller, std::uint32_t page_size, std::string page_token,
                            Done<Page<SessionFacts>> done) {
  core_.thread.call(std::move(done), [this, caller = std::move(caller), page_size,
                                      page_token = std::move(page_token)]() mutable {
    return session_list_.list(std::move(caller), page_size, std::move(page_token));
  });
}

void Control::keepalive_opened(Caller caller, SessionKey key, std::uint64_t stream_id,
                               OnSessionEvent on_event, Done<Nothing> done) {
  // The stream hears of a drain after it has heard that it is open.
  Done<Nothing> then = [this, on_event, done = std::move(done)](const Answer<Nothing>& opened) {
    done(opened);
    if (opened.ok() && draining()) on_event({SessionEvent::Kind::kDraining});
  };
  core_.thread.call(std::move(then), [this, caller = std::move(caller), key, stream_id,
                                      on_event = std::move(on_event)] {
    return session_calls_.keepalive_opened(caller, key, stream_id, on_event);
  });
}

void Control::keepalive_lost(SessionKey key, std::uint64_t stream_id) {
  core_.thread.post([this, key, stream_id] {
    if (!core_.thread.stopping()) session_calls_.keepalive_lost(key, stream_id);
  });
}

void Control::keepalive_trimmed(SessionKey key, std::uint64_t round, ArenaId arena_id) {
  core_.thread.post([this, key, round, arena_id] {
    if (!core_.thread.stopping()) session_calls_.keepalive_trimmed(key, round, arena_id);
  });
}

// --- administration

void Control::get_stats(Caller caller, std::string arena, Done<DaemonStats> done) {
  core_.thread.call(std::move(done),
                    [this, caller = std::move(caller), arena = std::move(arena)]() mutable {
                      return facts_.stats(std::move(caller), std::move(arena));
                    });
}

void Control::slab_info(Caller caller, std::string arena, Done<std::vector<SlabInfoRow>> done) {
  core_.thread.call(std::move(done),
                    [this, caller = std::move(caller), arena = std::move(arena)]() mutable {
                      return facts_.slab_info(std::move(caller), std::move(arena));
                    });
}

void Control::list_holders(Caller caller, std::string arena, std::uint32_t limit,
                           Done<Holders> done) {
  core_.thread.call(std::move(done),
                    [this, caller = std::move(caller), arena = std::move(arena), limit]() mutable {
                      return facts_.holders(std::move(caller), std::move(arena), limit);
                    });
}

void Control::audit(Caller caller, std::string arena, Done<AuditResult> done) {
  core_.thread.call(std::move(done),
                    [this, caller = std::move(caller), arena = std::move(arena)]() mutable {
                      return audits_.audit(std::move(caller), std::move(arena));
                    });
}

void Control::get_tunables(Done<std::vector<TunableFacts>> done) {
  core_.thread.call(std::move(done),
                    [this] { return Answer<std::vector<TunableFacts>>(facts_.tunables()); });
}

void Control::set_tunables(Caller caller, std::vector<std::pair<std::string, std::string>> values,
                           Done<std::vector<TunableFacts>> done) {
  core_.thread.call(std::move(done),
                    [this, caller = std::move(caller), values = std::move(values)]() mutable {
                      return facts_.set_tunables(std::move(caller), std::move(values));
                    });
}

void Control::evict_session(Caller caller, SessionId session, Done<GivenBack> done) {
  core_.thread.call(std::move(done), [this, caller = std::move(caller), session]() mutable {
    return evictions_.evict(std::move(caller), session);
  });
}

void Control::trim(Caller caller, std::string arena, Done<TrimFacts> done) {
  core_.thread.call(std::move(done),
                    [this, caller = std::move(caller), arena = std::move(arena)]() mutable {
                      return upkeep_.trim(std::move(caller), std::move(arena));
                    });
}

void Control::limit_session(Caller caller, SessionId session, std::uint64_t limit_bytes,
                            Done<SessionLimitFacts> done) {
  core_.thread.call(std::move(done),
                    [this, caller = std::move(caller), session, limit_bytes]() mutable {
                      return upkeep_.limit_session(std::move(caller), session, limit_bytes);
                    });
}

// --- ControlLink

void Control::need_memory(ArenaId arena_id, ShardId shard, std::uint64_t ticket) {
  core_.thread.post([this, arena_id, shard, ticket] {
    trim_rounds_.shard_needs_memory(arena_id, shard, ticket);
  });
}

void Control::need_free_round(ArenaId arena_id, ShardId shard, std::uint64_t ticket) {
  core_.thread.post(
      [this, arena_id, shard, ticket] { free_rounds_.start_for(arena_id, shard, ticket); });
}

void Control::need_commit(std::shared_ptr<ArenaState> arena, ShardId shard, std::uint64_t ticket,
                          CommitNeed need) {
  core_.commits.run(arena, [&memory = core_.shared.memory, to = &core_.shards[shard.value], arena,
                            ticket, need = std::move(need)] {
    const auto draw = memory.draw(need.session, need.part_bytes, need.parts);
    const HostBudget::Asking asking(need.session, draw.get());
    std::vector<RunWish> runs = need.runs;
    // Without the part of a lease that is beyond the reserve.
    if (draw != nullptr && draw->times() < need.parts) runs.front().count = draw->times();
    const RunClaims::Outcome got = arena->arena->claim(runs);
    to->post([to, arena, ticket, got, draw] { to->committed(arena, ticket, got, draw.get()); });
  });
}

void Control::memory_returned(ArenaId arena_id) {
  core_.thread.post([this, arena_id] { trim_rounds_.memory_returned(arena_id); });
}

}  // namespace arenad::server
