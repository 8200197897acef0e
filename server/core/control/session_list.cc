#include "server/core/control/session_list.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <utility>

#include "server/core/api/clock.h"
#include "server/core/control/arena_facts.h"

namespace arenad::server {

Task<Answer<Page<SessionFacts>>> SessionList::list(Caller caller, std::uint32_t page_size,
                                                   std::string page_token) {
  // The token is the last id of the page before. So sessions may come and go in between.
  const std::uint32_t most = page_size == 0 ? kMaxPage : std::min(page_size, kMaxPage);
  SessionId after = kNoSession;
  if (!page_token.empty()) {
    const char* const last = page_token.data() + page_token.size();
    const auto [end, error] = std::from_chars(page_token.data(), last, after.value);
    if (error != std::errc{} || end != last) {
      co_return Failure{Error::kInvalidOption,
                        "page_token is not one that ListSessions gave: leave it empty for the "
                        "first page"};
    }
  }
  std::vector<SessionId> ids;
  std::vector<ArenaId> attached;
  const auto& all = core_.sessions.all();
  auto next = all.upper_bound(after);
  for (; next != all.end() && ids.size() < most; ++next)
    if (next->second.belongs_to(*caller)) ids.push_back(next->first);
  Page<SessionFacts> page;
  if (next != all.end()) page.next_page_token = std::to_string(ids.back().value);

  auto asked = core_.shards.broadcast([ids](Shard& shard) {
    std::vector<SharesByArena> shares;  // by position in ids
    for (const SessionId id : ids) shares.push_back(shard.held_by_arena(id));
    return shares;
  });
  const std::vector<std::vector<SharesByArena>> by_shard = co_await asked;
  for (const SessionId id : ids)
    if (const SessionRecord* const record = core_.sessions.find(id))
      for (const auto& [arena, mode] : record->attached) attached.push_back(arena);
  auto counted = core_.count_where_needed(core_.arenas_of(attached));
  const CensusResult census = co_await counted;

  for (std::size_t i = 0; i < ids.size(); ++i) {
    const SessionRecord* const record = core_.sessions.find(ids[i]);
    if (record == nullptr) continue;  // ended in the meantime
    std::vector<SharesByArena> held;
    for (const std::vector<SharesByArena>& shares : by_shard) held.push_back(shares[i]);
    SessionFacts facts = facts_of(*record);
    add_attachments(facts, *record, held, census);
    page.items.push_back(std::move(facts));
  }
  co_return page;
}

SessionFacts SessionList::facts_of(const SessionRecord& record) const {
  SessionFacts facts;
  facts.id = record.key.id;
  facts.name = record.name;
  facts.pid = record.pid;
  facts.uid = record.uid;
  facts.bound = record.bound;
  facts.keepalive = !record.keepalives.empty();
  facts.reaping = record.reaping;
  facts.age_ms = (now_ns() - record.opened_ns) / kNsPerMs;
  facts.limit_bytes = core_.shared.account.limit_bytes(record.key.id);
  facts.reserve_bytes = record.reserve_bytes;
  return facts;
}

void SessionList::add_attachments(SessionFacts& facts, const SessionRecord& record,
                                  const std::vector<SharesByArena>& held,
                                  const CensusResult& census) {
  std::map<ArenaId, HeldShare> by_arena;
  for (const SharesByArena& shares : held)
    for (const auto& [arena, share] : shares) by_arena[arena] += share;
  for (const auto& [id, mode] : record.attached) {
    const ArenaRecord* const arena = core_.arenas.find(id);
    HeldShare share = by_arena[id];
    std::int64_t leased_bytes = 0;
    if (const auto counted = census.find(id); counted != census.end()) {
      share = counted->second->held_by(record.key.id);
      leased_bytes = counted->second->leased_by(record.key.id).bytes;
    }
    AttachmentFacts attachment;
    attachment.arena = arena == nullptr ? std::string() : arena->name();
    attachment.mode = mode;
    attachment.held_blocks = not_negative(share.blocks);
    attachment.held_bytes = not_negative(share.bytes);
    attachment.leased_bytes = not_negative(leased_bytes);
    facts.attachments.push_back(std::move(attachment));
  }
}

}  // namespace arenad::server
