#include "server/core/control/detaches.h"

#include <fmt/format.h>

#include "allocator/base/format.h"
#include "server/core/api/text.h"

namespace arenad::server {

Task<Answer<GivenBack>> Detaches::detach(SessionKey key, ArenaId arena, LeaseEpoch epoch,
                                         bool give_up) {
  if (const auto session = core_.sessions.find(key); !session.ok()) co_return session.error();
  auto other = wait_for(key.id, arena);
  co_await other;
  const auto session = core_.sessions.find(key);
  if (!session.ok()) co_return session.error();
  const auto admitted = admit(**session, arena, epoch);
  if (!admitted.ok()) co_return admitted.error();
  const std::shared_ptr<ArenaState>& state = *admitted;
  under_way_[{key.id, arena}];

  auto begun = begin(key.id, state, give_up);
  const HeldShare held = co_await begun;
  if (held.blocks > 0 && !give_up) {
    end({key.id, arena});
    co_return blocks_held(key.id, *state, held);
  }
  core_.tokens.drop(key.id, arena);
  auto left = core_.shards.broadcast(
      [id = key.id, state](Shard& shard) { return shard.leave(id, *state); });
  const std::vector<Footprint> footprints = co_await left;
  SessionReap::Work work;
  work.session = key.id;
  work.arenas[arena] = state;
  for (const Footprint& footprint : footprints) work.footprints[arena].merge(footprint);

  auto taken = reap_.take_back(work);
  co_await taken;
  auto gone = reap_.forget(work);
  co_await gone;
  log_detach(work, *state);
  end({key.id, arena});
  co_return work.given;
}

Answer<std::shared_ptr<ArenaState>> Detaches::admit(const SessionRecord& session, ArenaId arena,
                                                    LeaseEpoch epoch) {
  const SessionId id = session.key.id;
  const ArenaRecord* const record = core_.arenas.find(arena);
  if (record == nullptr)
    return refuse(Error::kUnknownArena, fmt::format("arena id {} does not exist", arena));
  const auto attached = session.attached.find(arena);
  if (attached == session.attached.end()) {
    return refuse(Error::kNotAttached,
                  fmt::format("session {} is not attached to arena '{}'", id, record->name()));
  }
  const LeaseEpochs& epochs = record->state->lease_epochs;
  // After a restart of the daemon only a peer resumes. The others have no leases to lose.
  const bool restored = epochs.must_resume(id) && attached->second != AttachMode::kPeer;
  if (!restored && !epochs.is_present(id, epoch)) return epochs.stale(id, epoch, record->name());
  return record->state;
}

Task<HeldShare> Detaches::begin(SessionId session, std::shared_ptr<ArenaState> state,
                                bool give_up) {
  auto asked = core_.shards.broadcast(
      [session, state](Shard& shard) { return shard.begin_leaving(session, *state); });
  const std::vector<HeldShare> shares = co_await asked;
  HeldShare held;
  for (const HeldShare& share : shares) held += share;
  // Who gives up its blocks need not know of them.
  if (!give_up && state->counts_from_words.load(std::memory_order_relaxed)) {
    auto counted = core_.count_words({state});
    const CensusResult census = co_await counted;
    const auto found = census.find(state->arena->id());
    if (found != census.end()) held = found->second->held_by(session);
  }
  if (held.blocks > 0 && !give_up) {
    auto told =
        core_.shards.broadcast([session, state](Shard& shard) { shard.stay(session, *state); });
    co_await told;
  }
  co_return held;
}

void Detaches::log_detach(const SessionReap::Work& work, const ArenaState& state) {
  const SessionRecord* const session = core_.sessions.find(work.session);
  if (session == nullptr || !core_.attachments.allow()) return;
  core_.log(LogLevel::kInfo, fmt::format("session {} '{}' of {} is detached from arena '{}'{}",
                                         work.session, session->name, session->owner->text(),
                                         state.arena->options().name, SessionReap::outcome(work)));
}

void Detaches::end(Attachment attachment) {
  const std::vector<Later<Nothing>> waiting = std::move(under_way_[attachment]);
  under_way_.erase(attachment);
  for (const Later<Nothing>& over : waiting) over.set({});
}

Task<> Detaches::wait_for(SessionId session, ArenaId arena) {
  for (;;) {
    const auto found = under_way_.find({session, arena});
    if (found == under_way_.end()) co_return;
    const Later<Nothing> over;
    found->second.push_back(over);
    co_await over;
  }
}

Task<> Detaches::wait_for_all(SessionId session) {
  for (;;) {
    const auto found = under_way_.lower_bound({session, ArenaId{}});
    if (found == under_way_.end() || found->first.first != session) co_return;
    const Later<Nothing> over;
    found->second.push_back(over);
    co_await over;
  }
}

Failure Detaches::blocks_held(SessionId session, const ArenaState& state,
                              const HeldShare& held) const {
  return refuse(
      Error::kBlocksHeld,
      fmt::format("session {} '{}' holds {} blocks of {} in arena '{}' and stays attached", session,
                  core_.sessions.name_of(session), held.blocks,
                  bytes_text(static_cast<std::uint64_t>(held.bytes)), state.arena->options().name));
}

}  // namespace arenad::server
