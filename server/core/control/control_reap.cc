// The end of a session, however it comes: its heaps are adopted, the rest of what it held is
// reaped, then its id may come back.
//
// Each step is done when everybody who takes part has answered; see README.md "How a session ends".
#include "server/core/api/text.h"
#include "server/core/control/control.h"

namespace arenad::server {

struct Control::Ending {
  SessionId id;
  EndCause cause = EndCause::kClosed;
  Done<GivenBack> done;
  std::map<ArenaId, Footprint> touched;                   // by arena: what the shards did for it
  std::map<ArenaId, std::shared_ptr<ArenaState>> arenas;  // it was attached to
  GivenBack given;
  std::uint64_t adopted_runs = 0;

  void add(const ReapResult& result) {
    given.blocks += result.blocks;
    given.bytes += result.bytes;
    adopted_runs += result.adopted_slabs;
  }
};

void Control::end_session(SessionId id, EndCause cause, Done<GivenBack> done) {
  SessionRecord* session = sessions_.find(id);
  if (session == nullptr || session->reaping) return;
  session->reaping = true;  // nobody's key works from here on
  ledger_.mark_ending(id);  // nor after a restart
  liveness_.forget(id);
  tokens_.drop_session(id);
  const auto keepalives = std::exchange(session->keepalives, {});
  auto ending = std::make_shared<Ending>();
  ending->id = id;
  ending->cause = cause;
  ending->done = std::move(done);
  // First every shard stops acting for it: an allocation in flight would slip behind the reaper's
  // scan.
  using Touched = std::vector<std::pair<ArenaId, Footprint>>;
  round<Touched>([id](Shard& shard) { return shard.remove_session(id); },
                 [this, ending](std::vector<Touched> by_shard) {
                   for (Touched& shard : by_shard)
                     for (auto& [arena, touched] : shard) ending->touched[arena].merge(touched);
                   adopt_leases(ending);
                 });
  for (const auto& [stream, on_event] : keepalives) on_event({SessionEvent::Kind::kEnded});
}

// Its runs become the shards', a share each. An audit may come in between: each run is somebody's
// at any moment.
void Control::adopt_leases(std::shared_ptr<Ending> ending) {
  const SessionId dead = ending->id;
  SessionRecord* session = sessions_.find(ending->id);
  // Each arena's part is one task more than there are shards with work, so that none of them is the
  // last too early.
  auto missing = std::make_shared<std::size_t>(1);
  const auto part_done = [this, ending, missing] {
    if (--*missing == 0) when_not_quiet([this, ending] { reap(ending); });
  };
  for (const auto& [arena_id, mode] : session->attached) {
    const ArenaRecord* record = arenas_.find(arena_id);
    if (record == nullptr) continue;
    ending->arenas[arena_id] = record->state;
    if (!record->state->counts_from_words.load(std::memory_order_relaxed)) continue;
    std::vector<std::vector<SlabIndex>> shares(shards_.size());
    std::size_t runs = 0;
    record->state->arena->for_each_run([&](SlabIndex slab, RunRecord run) {
      if (run.owner() == RunOwner::leased_to(dead)) shares[runs++ % shards_.size()].push_back(slab);
    });
    for (std::size_t i = 0; i < shards_.size(); ++i) {
      if (shares[i].empty()) continue;
      ++*missing;
      round_begins();
      Shard* const shard = shards_[i].get();
      shard->post([this, shard, ending, part_done, dead, state = record->state,
                   share = std::move(shares[i])]() mutable {
        shard->adopt(std::move(state), dead, std::move(share),
                     [this, ending, part_done](const ReapResult& result) {
                       inbox_.push([this, ending, part_done, result] {
                         ending->add(result);
                         part_done();
                         round_over();
                       });
                     });
      });
    }
  }
  part_done();
}

void Control::reap(std::shared_ptr<Ending> ending) {
  const SessionId dead = ending->id;
  SessionRecord* session = sessions_.find(ending->id);
  for (const auto& [arena_id, state] : ending->arenas) {
    ArenaRecord* record = arenas_.find(arena_id);
    if (record == nullptr || record->state != state) continue;  // deleted in the meantime
    Footprint& touched = ending->touched[arena_id];
    if (state->counts_from_words.load(std::memory_order_relaxed))
      touched.merge(state->arena->footprint_of(dead));
    const ReapResult result = state->arena->reap(dead, &touched);
    record->reaped.blocks += result.blocks;
    record->reaped.bytes += result.bytes;
    ending->add(result);
    record->sessions.erase(ending->id);
  }
  session->attached.clear();
  const char* how = ending->cause == EndCause::kClosed        ? "was closed"
                    : ending->cause == EndCause::kProcessDied ? "ended with its process"
                    : ending->cause == EndCause::kKeepaliveLost
                        ? "ended with its KeepAlive stream"
                        : "ended: no KeepAlive stream and no handoff came within the grace";
  log_(concat("session ", ending->id, " '", session->name, "' ", how, ", ", ending->given.blocks,
              " blocks of ", bytes_text(ending->given.bytes), " given back",
              ending->adopted_runs == 0
                  ? std::string()
                  : concat(", ", ending->adopted_runs, " leases taken over")));
  visit_all(
      [ending](Shard& shard) {
        for (const auto& [arena, state] : ending->arenas) shard.drain(arena);
      },
      [this, ending] { when_not_quiet([this, ending] { release_session(ending); }); });
}

void Control::release_session(std::shared_ptr<Ending> ending) {
  for (const auto& [arena_id, state] : ending->arenas) {
    state->arena->forget_session(ending->id);
    state->arena->ledger().set_attach_mode(ending->id, 0);
    const ArenaRecord* record = arenas_.find(arena_id);
    if (record == nullptr || record->state != state) continue;
    if (state->waiting.load(std::memory_order_relaxed) != 0) want_round(arena_id, {}, 0);
  }
  forget_asked(ending->id);   // now, so that a round which waited for it finds what it had
  ledger_.clear(ending->id);  // when no arena knows it any more
  sessions_.release(ending->id);
  if (ending->cause != EndCause::kClosed) ++sessions_reaped_;
  if (ending->done) ending->done(ending->given);
  tell_drained_if_done();
}

}  // namespace arenad::server
