#include "server/core/control/arena_facts.h"

#include <fmt/format.h>

#include "server/core/api/text.h"

namespace arenad::server {

Failure unknown_arena(const std::string& name) {
  return refuse(Error::kUnknownArena, fmt::format("arena '{}' does not exist", name.substr(0, 80)));
}

Failure not_permitted(const Principal& caller, const ArenaRecord& record, std::string_view what) {
  return refuse(Error::kNotPermitted,
                fmt::format("{} may not {} arena '{}' (owner {}, group {}, mode 0{:03o})",
                            caller.text(), what, record.name(), record.access.uid,
                            record.access.gid, record.access.mode & 0777));
}

HeldShare held_in(const ArenaRecord& record, const HeldShare& counted_by_shards,
                  const CensusResult& census) {
  if (const auto counted = census.find(record.id()); counted != census.end())
    return counted->second->held;
  HeldShare held = counted_by_shards;
  held.add(-static_cast<std::int64_t>(record.reaped.blocks),
           -static_cast<std::int64_t>(record.reaped.bytes));
  return held;
}

ArenaFacts arena_facts(const ArenaRecord& record, const HeldShare& held,
                       const CensusResult& census) {
  const Arena& arena = *record.state->arena;
  const HeldShare share = held_in(record, held, census);
  ArenaFacts facts;
  facts.id = record.id();
  facts.name = record.name();
  facts.capacity_bytes = arena.capacity_bytes();
  facts.holder_only = arena.options().holder_only;
  facts.pinned = arena.options().pinned;
  facts.zero = arena.options().zero;
  facts.scrub = arena.options().scrub;
  facts.huge_pages = arena.options().huge_pages;
  facts.huge_page_bytes = arena.huge_bytes();
  facts.huge_page_fallback = arena.huge_page_refusal();
  facts.numa = arena.options().numa.text();
  facts.numa_fallback = record.numa_fallback;
  facts.debug = arena.options().debug;
  facts.debug_findings = arena.control().findings().count.load(std::memory_order_relaxed);
  facts.locked = arena.locked();
  facts.access = record.access;
  facts.committed_bytes = arena.committed_bytes();
  facts.held_blocks = not_negative(share.blocks);
  facts.held_bytes = not_negative(share.bytes);
  facts.sessions = static_cast<std::uint32_t>(record.sessions.size());
  facts.quarantined = arena.quarantined();
  if (facts.quarantined) facts.quarantine_reason = arena.quarantine_reason();
  return facts;
}

HeldShare sum_of(const std::vector<HeldShare>& shares) {
  HeldShare sum;
  for (const HeldShare& share : shares) sum += share;
  return sum;
}

}  // namespace arenad::server
