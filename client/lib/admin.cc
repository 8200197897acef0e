#include "arenad/admin.h"

#include "client/lib/client_state.h"

namespace arenad::client {
namespace {

HeapCounters from_wire(const v1::HeapCounters& w) {
  HeapCounters counters;
#define ARENAD_FROM_WIRE(name, help) counters.name = w.name();
  ARENAD_HEAP_COUNTERS(ARENAD_FROM_WIRE)
#undef ARENAD_FROM_WIRE
  return counters;
}

ShardStats from_wire(const v1::ShardStats& w) {
  return {.shard = ShardId{static_cast<std::uint16_t>(w.shard())},
          .heap = from_wire(w.heap()),
          .calls = w.calls(),
          .remote_frees_to = {w.remote_frees_to().begin(), w.remote_frees_to().end()},
          .loop_turns = w.loop_turns(),
          .inbox_messages = w.inbox_messages(),
          .idle_drains = w.idle_drains()};
}

SlabUsage from_wire(const v1::SlabInfoRow& w) {
  return {.arena = w.arena(),
          .shard = ShardId{static_cast<std::uint16_t>(w.shard())},
          .peers = w.peers(),
          .size_class = ClassId{static_cast<std::uint8_t>(w.size_class())},
          .usable_bytes = w.usable_bytes(),
          .stride_bytes = w.stride_bytes(),
          .blocks_per_slab = w.blocks_per_slab(),
          .slab_bytes = w.slab_bytes(),
          .active_blocks = w.active_blocks(),
          .total_blocks = w.total_blocks(),
          .cached_blocks = w.cached_blocks(),
          .free_blocks = w.free_blocks(),
          .uncarved_blocks = w.uncarved_blocks(),
          .active_slabs = w.active_slabs(),
          .total_slabs = w.total_slabs()};
}

ArenaAudit from_wire(const v1::ArenaAudit& w) {
  return {.arena = w.arena(),
          .slabs = w.slabs(),
          .capacity_blocks = w.capacity_blocks(),
          .held = w.held(),
          .shared = w.shared(),
          .returning = w.returning(),
          .cached = w.cached(),
          .free = w.free(),
          .uncarved = w.uncarved(),
          .held_bytes = w.held_bytes(),
          .counted_held = w.counted_held(),
          .mismatches = w.mismatches(),
          .findings = {w.findings().begin(), w.findings().end()},
          .exact = w.exact(),
          .scan_us = w.scan_us(),
          .leased_slabs = w.leased_slabs()};
}

SessionInfo from_wire(const v1::SessionInfo& w) {
  SessionInfo info{.id = SessionId{static_cast<std::uint16_t>(w.id())},
                   .name = w.name(),
                   .pid = w.pid(),
                   .uid = w.uid(),
                   .bound = w.bound(),
                   .keepalive = w.keepalive(),
                   .state = w.state(),
                   .age_ms = w.age_ms(),
                   .limit_bytes = w.limit_bytes(),
                   .reserve_bytes = w.reserve_bytes(),
                   .attachments = {}};
  for (const v1::Attachment& a : w.attachments())
    info.attachments.push_back({a.arena(), static_cast<AttachMode>(a.mode()), a.held_blocks(),
                                a.held_bytes(), a.leased_bytes()});
  return info;
}

std::vector<Tunable> from_wire(const v1::Tunables& w) {
  std::vector<Tunable> all;
  for (const v1::Tunable& t : w.tunables())
    all.push_back({t.name(), t.value(), t.default_value(), t.description()});
  return all;
}

}  // namespace

Answer<std::vector<SessionInfo>> Admin::sessions() const {
  if (!client_.state_) return not_attached();
  ClientState& state = *client_.state_;
  std::vector<SessionInfo> all;
  v1::ListSessionsRequest request;
  do {
    v1::ListSessionsResponse page;
    if (Status s = state.call(state.sessions(), &v1::Sessions::Stub::ListSessions, request, page);
        !s.ok())
      return s;
    for (const v1::SessionInfo& session : page.sessions()) all.push_back(from_wire(session));
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return all;
}

Answer<GivenBack> Admin::evict(SessionId session) const {
  if (!client_.state_) return not_attached();
  ClientState& state = *client_.state_;
  v1::EvictSessionRequest request;
  request.set_session_id(session.value);
  v1::EvictSessionResponse given;
  if (Status s = state.call(state.admin(), &v1::Admin::Stub::EvictSession, request, given); !s.ok())
    return s;
  return GivenBack{given.blocks_given_back(), given.bytes_given_back()};
}

Answer<SessionLimit> Admin::limit_session(SessionId session, std::uint64_t limit_bytes) const {
  if (!client_.state_) return not_attached();
  ClientState& state = *client_.state_;
  v1::SetSessionLimitRequest request;
  request.set_session_id(session.value);
  request.set_limit_bytes(limit_bytes);
  v1::SetSessionLimitResponse limit;
  if (Status s = state.call(state.admin(), &v1::Admin::Stub::SetSessionLimit, request, limit);
      !s.ok())
    return s;
  return SessionLimit{limit.limit_bytes(), limit.charged_bytes()};
}

Answer<TrimResult> Admin::trim(std::string_view arena) const {
  if (!client_.state_) return not_attached();
  ClientState& state = *client_.state_;
  v1::TrimArenasRequest request;
  request.set_arena(std::string(arena));
  v1::TrimArenasResponse trimmed;
  if (Status s = state.call(state.admin(), &v1::Admin::Stub::Trim, request, trimmed); !s.ok())
    return s;
  return TrimResult{trimmed.committed_bytes_before(), trimmed.committed_bytes()};
}

Answer<Stats> Admin::stats(std::string_view arena) const {
  if (!client_.state_) return not_attached();
  ClientState& state = *client_.state_;
  v1::GetStatsRequest request;
  request.set_arena(std::string(arena));
  v1::Stats w;
  if (Status s = state.call(state.admin(), &v1::Admin::Stub::GetStats, request, w); !s.ok())
    return s;
  Stats stats{.shards = {},
              .arenas = w.arenas(),
              .sessions = w.sessions(),
              .sessions_reaped = w.sessions_reaped(),
              .committed_bytes = w.committed_bytes(),
              .capacity_bytes = w.capacity_bytes(),
              .held_blocks = w.held_blocks(),
              .held_bytes = w.held_bytes(),
              .uptime_ms = w.uptime_ms(),
              .leased_slabs = w.leased_slabs(),
              .leased_bytes = w.leased_bytes(),
              .reserved_bytes = w.reserved_bytes(),
              .set_aside_bytes = w.set_aside_bytes()};
  for (const v1::ShardStats& shard : w.shards()) stats.shards.push_back(from_wire(shard));
  return stats;
}

Answer<std::vector<SlabUsage>> Admin::slab_info(std::string_view arena) const {
  if (!client_.state_) return not_attached();
  ClientState& state = *client_.state_;
  v1::GetSlabInfoRequest request;
  request.set_arena(std::string(arena));
  v1::GetSlabInfoResponse response;
  if (Status s = state.call(state.admin(), &v1::Admin::Stub::GetSlabInfo, request, response);
      !s.ok())
    return s;
  std::vector<SlabUsage> rows;
  for (const v1::SlabInfoRow& row : response.rows()) rows.push_back(from_wire(row));
  return rows;
}

Answer<Holders> Admin::holders(std::string_view arena, std::uint32_t limit) const {
  if (!client_.state_) return not_attached();
  ClientState& state = *client_.state_;
  v1::ListHoldersRequest request;
  request.set_arena(std::string(arena));
  request.set_limit(limit);
  v1::ListHoldersResponse w;
  if (Status s = state.call(state.admin(), &v1::Admin::Stub::ListHolders, request, w); !s.ok())
    return s;
  Holders holders{.rows = {}, .total_blocks = w.total_blocks(), .total_bytes = w.total_bytes()};
  for (const v1::HolderRow& row : w.holders())
    holders.rows.push_back({SessionId{static_cast<std::uint16_t>(row.session())},
                            row.session_name(), row.tag(), row.blocks(), row.bytes()});
  return holders;
}

Answer<AuditReport> Admin::audit(std::string_view arena) const {
  if (!client_.state_) return not_attached();
  ClientState& state = *client_.state_;
  v1::AuditRequest request;
  request.set_arena(std::string(arena));
  v1::AuditReport w;
  if (Status s = state.call(state.admin(), &v1::Admin::Stub::Audit, request, w); !s.ok()) return s;
  AuditReport report{.arenas = {},
                     .exact = w.exact(),
                     .p0_counter_mismatch = w.p0_counter_mismatch(),
                     .p0_counter_ok = w.p0_counter_ok()};
  for (const v1::ArenaAudit& one : w.arenas()) report.arenas.push_back(from_wire(one));
  return report;
}

Answer<std::vector<Tunable>> Admin::tunables() const {
  if (!client_.state_) return not_attached();
  ClientState& state = *client_.state_;
  v1::Tunables w;
  if (Status s =
          state.call(state.admin(), &v1::Admin::Stub::GetTunables, v1::GetTunablesRequest(), w);
      !s.ok())
    return s;
  return from_wire(w);
}

Answer<std::vector<Tunable>> Admin::set_tunables(
    const std::vector<std::pair<std::string, std::string>>& values) const {
  if (!client_.state_) return not_attached();
  ClientState& state = *client_.state_;
  v1::SetTunablesRequest request;
  for (const auto& [name, value] : values) (*request.mutable_values())[name] = value;
  v1::Tunables w;
  if (Status s = state.call(state.admin(), &v1::Admin::Stub::SetTunables, request, w); !s.ok())
    return s;
  return from_wire(w);
}

}  // namespace arenad::client
