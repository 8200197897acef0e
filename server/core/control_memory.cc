// Full arenas, the control thread's part: rounds in which every shard gives back what it can.
//
// A round: all shards publish their gathered frees; then all trim and say who holds what; then all retry what they have
// parked. Requests that come while a round runs are for the next one, because memory may have come back behind it. The
// maintenance thread rests meanwhile: a superslab that it is just committing is in nobody's reach, and the arena would look
// fuller than it is.
#include <algorithm>

#include "server/core/clock.h"
#include "server/core/control.h"
#include "server/core/text.h"

namespace arenad::server {
namespace {

// Between two rounds that nobody but returning memory asks for: a trim empties magazines, which costs all clients.
constexpr std::uint64_t kRoundPauseNs = kNsPerMs;
constexpr std::size_t kHoldersNamed = 3;

}  // namespace

void Control::need_memory(std::uint16_t arena_id, std::uint32_t shard, std::uint64_t ticket) {
  inbox_.push([this, arena_id, shard, ticket] { want_round(arena_id, shard, ticket); });
}

void Control::memory_returned(std::uint16_t arena_id) {
  inbox_.push([this, arena_id] { want_round(arena_id, 0, 0); });
}

void Control::need_recount(std::uint16_t, std::uint16_t arena_id, std::uint32_t shard, std::uint64_t ticket) {
  Shard* const asking = shards_[shard].get();
  asking->post([asking, arena_id, ticket] { asking->recounted(arena_id, ticket); });
}

void Control::keepalive_trimmed(SessionKey, std::uint64_t, std::uint32_t) {}

void Control::want_round(std::uint16_t arena_id, std::uint32_t shard, std::uint64_t ticket) {
  if (stopping_ || arenas_.find(arena_id) == nullptr) return;  // the shards fail what is parked there
  MemoryRound& round = memory_rounds_.try_emplace(arena_id, io_, shards_.size()).first->second;
  round.wanted[shard] = std::max(round.wanted[shard], ticket);
  if (round.running) {
    round.again = true;
    return;
  }
  const std::uint64_t now = now_ns();
  if (ticket != 0 || now - round.finished_ns >= kRoundPauseNs) return start_memory_round(arena_id);
  if (round.again) return;  // the timer runs
  round.again = true;
  round.pause.expires_after(std::chrono::nanoseconds(kRoundPauseNs));
  round.pause.async_wait([this, arena_id](const boost::system::error_code& stopped) {
    if (stopped) return;
    const auto found = memory_rounds_.find(arena_id);
    if (found == memory_rounds_.end() || found->second.running || !found->second.again) return;
    start_memory_round(arena_id);
  });
}

void Control::start_memory_round(std::uint16_t arena_id) {
  MemoryRound& state = memory_rounds_.at(arena_id);
  state.running = true;
  state.again = false;
  maintenance_.pause();
  const auto tickets = std::exchange(state.wanted, std::vector<std::uint64_t>(shards_.size()));
  visit_all([](Shard& shard) { shard.publish(); }, [this, arena_id, tickets] {
    using Shares = std::vector<std::pair<std::uint16_t, HeldShare>>;
    round<Shares>(
        [arena_id](Shard& shard) {
          shard.trim(arena_id);
          return shard.held_by_session(arena_id);
        },
        [this, arena_id, tickets](std::vector<Shares> shares) {
          visit_all(
              [arena_id, tickets, usage = summarize(arena_id, shares)](Shard& shard) {
                shard.memory_round(arena_id, tickets[shard.index()], usage);
              },
              [this, arena_id] {
                maintenance_.resume();
                const auto found = memory_rounds_.find(arena_id);
                if (found == memory_rounds_.end()) return;  // the arena was deleted
                found->second.running = false;
                found->second.finished_ns = now_ns();
                if (found->second.again && !stopping_) start_memory_round(arena_id);
              });
        });
  });
}

UsageSummary Control::summarize(std::uint16_t arena_id,
                                const std::vector<std::vector<std::pair<std::uint16_t, HeldShare>>>& shares) {
  std::map<std::uint16_t, HeldShare> by_session;
  for (const auto& shard : shares)
    for (const auto& [session, share] : shard) by_session[session] += share;
  std::vector<std::pair<std::uint16_t, HeldShare>> biggest;
  UsageSummary usage;
  for (const auto& [session, share] : by_session) {
    if (share.bytes <= 0) continue;
    usage.held_bytes += static_cast<std::uint64_t>(share.bytes);
    biggest.emplace_back(session, share);
  }
  if (const ArenaRecord* record = arenas_.find(arena_id)) usage.committed_bytes = record->state->arena->committed_bytes();
  const std::size_t named = std::min(kHoldersNamed, biggest.size());
  std::partial_sort(biggest.begin(), biggest.begin() + static_cast<std::ptrdiff_t>(named), biggest.end(),
                    [](const auto& a, const auto& b) { return a.second.bytes > b.second.bytes; });
  for (std::size_t i = 0; i < named; ++i) {
    const auto& [session, share] = biggest[i];
    usage.biggest_holders += concat(i == 0 ? "" : ", ", "session ", session, " '", sessions_.name_of(session), "' ",
                                    bytes_text(static_cast<std::uint64_t>(share.bytes)), " in ", share.blocks, " blocks");
  }
  return usage;
}

}  // namespace arenad::server
