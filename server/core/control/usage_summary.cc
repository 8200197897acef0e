#include "server/core/control/usage_summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "allocator/base/format.h"
#include "server/core/api/text.h"
#include "server/core/control/arena_facts.h"

namespace arenad::server {
namespace {

constexpr std::size_t kHoldersNamed = 3;

// The biggest first, at most kHoldersNamed.
std::vector<std::pair<SessionId, HeldShare>> biggest_of(
    const std::map<SessionId, HeldShare>& by_session) {
  std::vector<std::pair<SessionId, HeldShare>> holders;
  for (const auto& [session, share] : by_session)
    if (share.bytes > 0) holders.emplace_back(session, share);
  std::stable_sort(holders.begin(), holders.end(),
                   [](const auto& a, const auto& b) { return a.second.bytes > b.second.bytes; });
  if (holders.size() > kHoldersNamed) holders.resize(kHoldersNamed);
  return holders;
}

}  // namespace

UsageSummary summarize_usage(const ArenaRecord* arena, const std::vector<SharesBySession>& by_shard,
                             const CensusResult& census, const SessionRegistry& sessions) {
  UsageSummary usage;
  if (arena == nullptr) return usage;
  usage.committed_bytes = arena->state->arena->committed_bytes();
  std::map<SessionId, HeldShare> by_session;
  if (const auto counted = census.find(arena->id()); counted != census.end()) {
    by_session = counted->second->by_session();
    usage.held_bytes = not_negative(counted->second->held.bytes);
    usage.leased_bytes = not_negative(counted->second->lease_sum().bytes);
  } else {
    for (const SharesBySession& shares : by_shard)
      for (const auto& [session, share] : shares) by_session[session] += share;
    for (const auto& [session, share] : by_session) usage.held_bytes += not_negative(share.bytes);
  }
  for (const auto& [session, share] : biggest_of(by_session)) {
    usage.biggest_holders +=
        fmt::format("{}session {} '{}' {} in {} blocks", usage.biggest_holders.empty() ? "" : ", ",
                    session.value, sessions.name_of(session), bytes_text(not_negative(share.bytes)),
                    share.blocks);
  }
  return usage;
}

}  // namespace arenad::server
