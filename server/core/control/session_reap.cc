#include "server/core/control/session_reap.h"

#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "allocator/base/format.h"
#include "server/core/control/trim_rounds.h"

namespace arenad::server {

Task<> SessionReap::take_back(Work& work) {
  if (core_.shared.account.charged_bytes(work.session) != 0)
    work.heir = core_.heir_of(work.session);
  auto adopted = adopt_leases(work);
  co_await adopted;
  auto quiet = gate_.wait_until_open();
  co_await quiet;
  reap(work);
}

Task<> SessionReap::adopt_leases(Work& work) {
  std::vector<Later<ReapResult>> parts;
  for (const auto& [id, state] : work.arenas) {
    if (!state->counts_from_words.load(std::memory_order_relaxed)) continue;
    std::vector<std::vector<SlabIndex>> shares(core_.shards.size());
    std::size_t runs = 0;
    state->arena->for_each_run([&](SlabIndex slab, RunRecord run) {
      if (run.owner() == RunOwner::leased_to(work.session))
        shares[runs++ % shares.size()].push_back(slab);
    });
    for (std::size_t i = 0; i < shares.size(); ++i) {
      if (shares[i].empty()) continue;
      parts.push_back(
          core_.shards.adopt(i, state, work.session, {work.heir}, std::move(shares[i])));
    }
  }
  for (const Later<ReapResult>& part : parts) {
    const ReapResult result = co_await part;
    work.add(result);
  }
}

void SessionReap::reap(Work& work) {
  SessionRecord& session = *core_.sessions.find(work.session);
  for (const auto& [id, state] : work.arenas) {
    ArenaRecord* const record = core_.arenas.find(id);
    if (record == nullptr || record->state != state) continue;  // deleted in the meantime
    Footprint& footprint = work.footprints[id];
    if (state->counts_from_words.load(std::memory_order_relaxed))
      footprint.merge(state->arena->footprint_of(work.session));
    const ReapResult result = state->arena->reap(work.session, &footprint);
    record->reaped.blocks += result.blocks;
    record->reaped.bytes += result.bytes;
    record->sessions.erase(work.session);
    session.attached.erase(id);
    work.add(result);
  }
}

Task<> SessionReap::forget(Work& work) {
  std::vector<ArenaId> arenas;
  for (const auto& [id, state] : work.arenas) arenas.push_back(id);
  auto drained = core_.shards.broadcast([arenas](Shard& shard) {
    for (const ArenaId id : arenas) shard.drain(id);
  });
  co_await drained;
  auto passed = pass_on(work);
  co_await passed;

  auto quiet = gate_.wait_until_open();
  co_await quiet;
  for (const auto& [id, state] : work.arenas) {
    state->arena->forget_session(work.session);
    const ArenaRecord* const record = core_.arenas.find(id);
    if (record == nullptr || record->state != state) continue;
    if (state->waiting.load(std::memory_order_relaxed) != 0) trim_rounds_.memory_returned(id);
  }
}

// Mostly nothing is left: then the session, when it ends, is charged for nothing any more.
Task<> SessionReap::pass_on(Work& work) {
  if (core_.shared.account.charged_bytes(work.session) == 0) co_return;
  std::vector<Later<Nothing>> parts;
  for (const auto& [id, state] : work.arenas) {
    const auto where = std::make_shared<const Footprint>(std::move(work.footprints[id]));
    for (std::size_t i = 0; i < core_.shards.size(); ++i)
      parts.push_back(core_.shards.pass_on(i, state, where, work.session, work.heir));
  }
  for (const Later<Nothing>& part : parts) co_await part;
}

std::string SessionReap::outcome(const Work& work) {
  std::string text =
      fmt::format(", {} blocks of {} given back", work.given.blocks, bytes_text(work.given.bytes));
  if (work.adopted_runs != 0) text += fmt::format(", {} leases taken over", work.adopted_runs);
  return text;
}

}  // namespace arenad::server
