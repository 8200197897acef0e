// Full arenas, the control thread's part: rounds in which every shard gives back what it can.
//
// A round: all shards publish their gathered frees; then all trim and say who holds what; then all
// retry what they have parked. What still finds no room waits until the arena's peers have trimmed,
// too (control_peers.cc), then comes the same again, and what does not wait fails. Requests that
// come while a round runs are for the next one, because memory may have come back behind it. The
// maintenance thread rests while shards trim and retry: a superslab that it is just committing is
// in nobody's reach, and the arena would look fuller than it is.
#include <algorithm>

#include "server/core/api/clock.h"
#include "server/core/api/text.h"
#include "server/core/control/control.h"

namespace arenad::server {
namespace {

// Between two rounds that nobody but returning memory asks for: a trim empties magazines, which
// costs all clients.
constexpr std::uint64_t kRoundPauseNs = kNsPerMs;
// Between two requests to peers to trim for those who wait already.
constexpr std::uint64_t kAskPauseNs = 100 * kNsPerMs;
constexpr std::size_t kHoldersNamed = 3;

}  // namespace

void Control::need_memory(ArenaId arena_id, ShardId shard, std::uint64_t ticket) {
  inbox_.push([this, arena_id, shard, ticket] { want_round(arena_id, shard, ticket); });
}

void Control::memory_returned(ArenaId arena_id) {
  inbox_.push([this, arena_id] { want_round(arena_id, {}, 0); });
}

void Control::want_round(ArenaId arena_id, ShardId shard, std::uint64_t ticket) {
  if (stopping_ || arenas_.find(arena_id) == nullptr)
    return;  // the shards fail what is parked there
  TrimRound& round = trim_rounds_.try_emplace(arena_id, io_, shards_.size()).first->second;
  round.wanted[shard.value] = std::max(round.wanted[shard.value], ticket);
  if (round.running) {
    round.again = true;
    return;
  }
  const std::uint64_t now = now_ns();
  if (ticket != 0 || now - round.finished_ns >= kRoundPauseNs) return start_trim_round(arena_id);
  if (round.again) return;  // the timer runs
  round.again = true;
  round.pause.expires_after(std::chrono::nanoseconds(kRoundPauseNs));
  round.pause.async_wait([this, arena_id](const boost::system::error_code& stopped) {
    if (stopped) return;
    const auto found = trim_rounds_.find(arena_id);
    if (found == trim_rounds_.end() || found->second.running || !found->second.again) return;
    start_trim_round(arena_id);
  });
}

void Control::start_trim_round(ArenaId arena_id) {
  TrimRound& state = trim_rounds_.at(arena_id);
  state.running = true;
  state.again = false;
  maintenance_.pause();
  const auto tickets = std::exchange(state.wanted, std::vector<std::uint64_t>(shards_.size()));
  const bool somebody_new =
      std::any_of(tickets.begin(), tickets.end(), [](std::uint64_t ticket) { return ticket != 0; });
  trim_shards(arena_id, [this, arena_id, tickets,
                         somebody_new](std::vector<SharesBySession> shares) {
    const auto round = trim_rounds_.find(arena_id);
    // Waiters make rounds of their own accord, and a trim costs a peer its magazines: it is asked
    // for those now and then only.
    const bool soon =
        round != trim_rounds_.end() && now_ns() - round->second.asked_ns < kAskPauseNs;
    const std::vector<SessionId> peers =
        soon && !somebody_new ? std::vector<SessionId>() : peers_to_ask(arena_id);
    if (peers.empty()) return settle_trim_round(arena_id, tickets, shares);
    visit_all(
        [arena_id](Shard& shard) { shard.retry_parked(arena_id); },
        [this, arena_id, tickets, peers] {
          const ArenaRecord* record = arenas_.find(arena_id);
          if (record == nullptr || record->state->waiting.load(std::memory_order_relaxed) == 0) {
            maintenance_.resume();
            return trim_round_over(arena_id);
          }
          maintenance_.resume();  // it may take a while
          ask_peers(arena_id, peers, [this, arena_id, tickets] {
            maintenance_.pause();
            trim_shards(arena_id, [this, arena_id, tickets](std::vector<SharesBySession> again) {
              settle_trim_round(arena_id, tickets, again);
            });
          });
        });
  });
}

void Control::trim_shards(ArenaId arena_id,
                          std::function<void(std::vector<SharesBySession>)> then) {
  visit_all([](Shard& shard) { shard.publish(); },
            [this, arena_id, then = std::move(then)] {
              round<SharesBySession>(
                  [arena_id](Shard& shard) {
                    shard.trim(arena_id);
                    return shard.held_by_session(arena_id);
                  },
                  then);
            });
}

void Control::settle_trim_round(ArenaId arena_id, const std::vector<std::uint64_t>& tickets,
                                const std::vector<SharesBySession>& shares) {
  with_census({arena_id}, [this, arena_id, tickets, shares](CensusResult census) {
    visit_all(
        [arena_id, tickets, usage = summarize(arena_id, shares, census)](Shard& shard) {
          shard.trim_round(arena_id, tickets[shard.index().value], usage);
        },
        [this, arena_id] {
          maintenance_.resume();
          trim_round_over(arena_id);
        });
  });
}

void Control::trim_round_over(ArenaId arena_id) {
  const auto found = trim_rounds_.find(arena_id);
  if (found == trim_rounds_.end()) return;  // the arena was deleted
  found->second.running = false;
  found->second.finished_ns = now_ns();
  if (found->second.again && !stopping_) start_trim_round(arena_id);
}

UsageSummary Control::summarize(ArenaId arena_id, const std::vector<SharesBySession>& shares,
                                const CensusResult& census) {
  std::map<SessionId, HeldShare> by_session;
  UsageSummary usage;
  if (const auto counted = census.find(arena_id); counted != census.end()) {
    by_session = counted->second->by_session();
    usage.held_bytes = static_cast<std::uint64_t>(counted->second->held.bytes);
    usage.leased_bytes = static_cast<std::uint64_t>(counted->second->lease_sum().bytes);
  } else {
    for (const SharesBySession& shard : shares)
      for (const auto& [session, share] : shard) by_session[session] += share;
    for (const auto& [session, share] : by_session)
      usage.held_bytes += static_cast<std::uint64_t>(std::max<std::int64_t>(share.bytes, 0));
  }
  std::vector<std::pair<SessionId, HeldShare>> biggest;
  for (const auto& [session, share] : by_session)
    if (share.bytes > 0) biggest.emplace_back(session, share);
  if (const ArenaRecord* record = arenas_.find(arena_id))
    usage.committed_bytes = record->state->arena->committed_bytes();
  const std::size_t named = std::min(kHoldersNamed, biggest.size());
  std::partial_sort(biggest.begin(), biggest.begin() + static_cast<std::ptrdiff_t>(named),
                    biggest.end(),
                    [](const auto& a, const auto& b) { return a.second.bytes > b.second.bytes; });
  for (std::size_t i = 0; i < named; ++i) {
    const auto& [session, share] = biggest[i];
    usage.biggest_holders += concat(
        i == 0 ? "" : ", ", "session ", session, " '", sessions_.name_of(session), "' ",
        bytes_text(static_cast<std::uint64_t>(share.bytes)), " in ", share.blocks, " blocks");
  }
  return usage;
}

}  // namespace arenad::server
