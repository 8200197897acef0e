#include "server/core/control/trim_rounds.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "server/core/api/clock.h"
#include "server/core/control/usage_summary.h"

namespace arenad::server {
namespace {

// Between two rounds that only returned memory asks for. A trim empties magazines, which costs all
// clients.
constexpr std::chrono::milliseconds kRoundPause(1);
// Between two requests to peers when nobody new waits.
constexpr std::chrono::milliseconds kAskPause(100);

constexpr std::uint64_t ns(std::chrono::nanoseconds time) {
  return static_cast<std::uint64_t>(time.count());
}

}  // namespace

TrimRounds::OfArena* TrimRounds::find(ArenaId arena) {
  const auto found = by_arena_.find(arena);
  return found == by_arena_.end() ? nullptr : found->second.get();
}

// None when there is no such arena: its shards fail what is parked there.
std::shared_ptr<TrimRounds::OfArena> TrimRounds::find_or_make(ArenaId arena) {
  if (core_.thread.stopping() || core_.arenas.find(arena) == nullptr) return nullptr;
  auto& of = by_arena_[arena];
  if (of == nullptr) of = std::make_shared<OfArena>(arena, core_.shards.size());
  return of;
}

void TrimRounds::shard_needs_memory(ArenaId arena, ShardId shard, std::uint64_t ticket) {
  const std::shared_ptr<OfArena> of = find_or_make(arena);
  if (of == nullptr) return;
  std::uint64_t& wanted = of->wanted[shard.value];
  wanted = std::max(wanted, ticket);
  if (of->running) {
    of->again = true;
  } else {
    core_.thread.run(run(of));
  }
}

void TrimRounds::memory_returned(ArenaId arena) {
  const std::shared_ptr<OfArena> of = find_or_make(arena);
  if (of == nullptr) return;
  const bool pausing = of->again && !of->running;
  if (pausing) return;
  if (!of->running && now_ns() - of->finished_ns >= ns(kRoundPause)) {
    core_.thread.run(run(of));
    return;
  }
  of->again = true;
  if (!of->running) core_.thread.run(run_after_pause(of));
}

Task<> TrimRounds::run_after_pause(std::shared_ptr<OfArena> of) {
  auto over = core_.thread.sleep(kRoundPause);
  co_await over;
  if (of->running || !of->again || of->removed) co_return;  // a shard was quicker
  auto rounds = run(of);
  co_await rounds;
}

Task<> TrimRounds::run(std::shared_ptr<OfArena> of) {
  of->running = true;
  do {
    of->again = false;
    auto round = one_round(of);
    co_await round;
    of->finished_ns = now_ns();
  } while (of->again && !of->removed && !core_.thread.stopping());
  of->running = false;
}

Task<> TrimRounds::one_round(std::shared_ptr<OfArena> of) {
  const ArenaId id = of->id;
  const auto tickets = std::exchange(of->wanted, std::vector<std::uint64_t>(core_.shards.size()));
  const bool somebody_new =
      std::any_of(tickets.begin(), tickets.end(), [](std::uint64_t ticket) { return ticket != 0; });
  auto trimmed = trim_shards(id);
  Shares shares = co_await trimmed;

  // Those who wait make rounds of their own accord, and a trim costs a peer its magazines. So peers
  // are asked for those who wait only now and then.
  const bool asked_lately = now_ns() - of->asked_ns < ns(kAskPause);
  std::vector<SessionId> peers;
  if (somebody_new || !asked_lately) peers = peers_to_ask(id);
  if (!peers.empty()) {
    auto retried = core_.shards.broadcast([id](Shard& shard) { shard.retry_parked(id); });
    co_await retried;
    const ArenaRecord* const record = core_.arenas.find(id);
    if (record == nullptr || record->state->waiting.load(std::memory_order_relaxed) == 0) co_return;
    auto answers = ask(of, peers);
    co_await answers;
    if (of->removed) co_return;
    auto trimmed_again = trim_shards(id);
    shares = co_await trimmed_again;
  }

  auto counted = core_.count_where_needed(core_.arenas_in(id));
  const CensusResult census = co_await counted;
  const UsageSummary usage = summarize_usage(core_.arenas.find(id), shares, census, core_.sessions);
  auto settled = core_.shards.broadcast([id, tickets, usage](Shard& shard) {
    shard.trim_round(id, tickets[shard.index().value], usage);
  });
  co_await settled;
}

Task<> TrimRounds::trim(ArenaId id) {
  const std::shared_ptr<OfArena> of = find_or_make(id);
  if (of == nullptr) co_return;
  while (of->running && !of->removed) {
    auto over = core_.thread.sleep(kRoundPause);
    co_await over;
  }
  if (of->removed) co_return;
  of->running = true;
  if (const auto peers = peers_to_ask(id); !peers.empty()) {
    auto answers = ask(of, peers);
    co_await answers;
  }
  if (!of->removed) {
    auto trimmed = trim_shards(id);
    co_await trimmed;
  }
  of->running = false;
  if (!of->again) co_return;
  auto rounds = run(of);  // of those who began to wait meanwhile
  co_await rounds;
}

Task<TrimRounds::Shares> TrimRounds::trim_shards(ArenaId arena) {
  auto published = core_.shards.broadcast([](Shard& shard) { shard.publish(); });
  co_await published;
  auto trimmed = core_.shards.broadcast([arena](Shard& shard) {
    shard.trim(arena);
    return shard.held_by_session(arena);
  });
  Shares shares = co_await trimmed;
  co_return shares;
}

std::vector<SessionId> TrimRounds::peers_to_ask(ArenaId arena) {
  std::vector<SessionId> peers;
  const ArenaRecord* const record = core_.arenas.find(arena);
  if (record == nullptr) return peers;
  for (const SessionId id : record->sessions) {
    const SessionRecord* const session = core_.sessions.find(id);
    if (session == nullptr || session->reaping || session->slow_to_trim ||
        session->keepalives.empty())
      continue;
    const auto attached = session->attached.find(arena);
    if (attached != session->attached.end() && attached->second == AttachMode::kPeer)
      peers.push_back(id);
  }
  return peers;
}

Later<Nothing> TrimRounds::ask(const std::shared_ptr<OfArena>& of,
                               const std::vector<SessionId>& peers) {
  of->asked_ns = now_ns();
  of->number = ++last_number_;
  of->all_answered = Later<Nothing>();
  Later<Nothing> all_answered = of->all_answered;
  for (const SessionId id : peers) {
    const SessionRecord* const session = core_.sessions.find(id);
    if (session == nullptr || session->keepalives.empty()) continue;  // left in the meantime
    of->asked.insert(id);
    // If there are several streams, the client still has one of them.
    for (const auto& [stream, on_event] : session->keepalives)
      on_event({SessionEvent::Kind::kTrim, of->number, of->id});
  }
  if (of->asked.empty()) {
    all_answered.set({});
  } else {
    core_.thread.run(lose_patience(of, of->number));
  }
  return all_answered;
}

Task<> TrimRounds::lose_patience(std::shared_ptr<OfArena> of, std::uint64_t number) {
  const std::chrono::milliseconds patience(
      core_.shared.tunables.trim_patience_ms.load(std::memory_order_relaxed));
  auto over = core_.thread.sleep(patience);
  co_await over;
  if (of->number != number || of->asked.empty()) co_return;
  for (const SessionId id : std::exchange(of->asked, {}))
    if (SessionRecord* const session = core_.sessions.find(id)) session->slow_to_trim = true;
  const Later<Nothing> all_answered = of->all_answered;
  all_answered.set({});
}

void TrimRounds::answered(OfArena& of, SessionId peer) {
  if (of.asked.erase(peer) == 0 || !of.asked.empty()) return;
  const Later<Nothing> all_answered = of.all_answered;
  all_answered.set({});
}

void TrimRounds::peer_trimmed(SessionId peer, std::uint64_t number, ArenaId arena) {
  OfArena* const of = find(arena);
  if (of != nullptr && of->number == number) answered(*of, peer);
}

void TrimRounds::peer_left(SessionId peer) {
  std::vector<std::shared_ptr<OfArena>> waiting;  // an answer may start rounds
  for (const auto& [arena, of] : by_arena_)
    if (of->asked.contains(peer)) waiting.push_back(of);
  for (const auto& of : waiting) answered(*of, peer);
}

void TrimRounds::arena_removed(ArenaId arena) {
  const auto found = by_arena_.find(arena);
  if (found == by_arena_.end()) return;
  const std::shared_ptr<OfArena> of = found->second;
  by_arena_.erase(found);
  of->removed = true;
  of->asked.clear();
  if (!of->all_answered.is_set()) of->all_answered.set({});
}

}  // namespace arenad::server
