#include "server/rpc/services/admin_messages.h"

namespace arenad::server {
namespace {

void fill(v1::HeapCounters& out, const HeapCounters& heap) {
#define ARENAD_TO_WIRE(name, help) out.set_##name(heap.name);
  ARENAD_HEAP_COUNTERS(ARENAD_TO_WIRE)
#undef ARENAD_TO_WIRE
}

void fill(v1::ArenaAudit& out, const AuditedArena& audited) {
  const VerifyReport& report = audited.report;
  out.set_arena(audited.arena);
  out.set_slabs(report.slabs);
  out.set_capacity_blocks(report.capacity_blocks);
  out.set_held(report.held);
  out.set_shared(report.shared);
  out.set_returning(report.returning);
  out.set_cached(report.cached);
  out.set_free(report.free);
  out.set_uncarved(report.uncarved);
  out.set_held_bytes(report.held_bytes);
  // The owners' counters know of a free when they drain it; what is on its way was freed already.
  out.set_counted_held(static_cast<std::uint64_t>(report.counted_out) - report.returning);
  out.set_mismatches(report.mismatches);
  for (const std::string& finding : report.findings) out.add_findings(finding);
  out.set_exact(report.exact());
  out.set_scan_us(audited.scan_us);
  out.set_leased_slabs(report.leased_slabs);
}

}  // namespace

void fill(v1::Stats& out, const DaemonStats& stats) {
  for (const ShardFacts& facts : stats.shards) {
    v1::ShardStats& shard = *out.add_shards();
    shard.set_shard(facts.shard.value);
    fill(*shard.mutable_heap(), facts.heap);
    shard.set_calls(facts.calls);
    for (const std::uint64_t frees : facts.remote_frees_to) shard.add_remote_frees_to(frees);
    shard.set_loop_turns(facts.loop_turns);
    shard.set_inbox_messages(facts.inbox_messages);
    shard.set_idle_drains(facts.idle_drains);
  }
  out.set_arenas(stats.arenas);
  out.set_sessions(stats.sessions);
  out.set_sessions_reaped(stats.sessions_reaped);
  out.set_committed_bytes(stats.committed_bytes);
  out.set_capacity_bytes(stats.capacity_bytes);
  out.set_held_blocks(stats.held_blocks);
  out.set_held_bytes(stats.held_bytes);
  out.set_uptime_ms(stats.uptime_ms);
  out.set_leased_slabs(stats.leased_slabs);
  out.set_leased_bytes(stats.leased_bytes);
  out.set_reserved_bytes(stats.reserved_bytes);
  out.set_set_aside_bytes(stats.set_aside_bytes);
}

void fill(v1::GetSlabInfoResponse& out, const std::vector<SlabInfoRow>& rows) {
  for (const SlabInfoRow& from : rows) {
    v1::SlabInfoRow& row = *out.add_rows();
    row.set_arena(from.arena);
    row.set_shard(from.shard.value);
    row.set_peers(from.peers);
    row.set_size_class(from.usage.cls.value);
    row.set_usable_bytes(from.usable_bytes);
    row.set_stride_bytes(from.stride_bytes);
    row.set_blocks_per_slab(from.blocks_per_slab);
    row.set_slab_bytes(from.slab_bytes);
    row.set_active_blocks(from.usage.active_blocks);
    row.set_total_blocks(from.usage.capacity_blocks);
    row.set_cached_blocks(from.usage.cached_blocks);
    row.set_free_blocks(from.usage.free_blocks);
    row.set_uncarved_blocks(from.usage.uncarved_blocks);
    row.set_active_slabs(from.usage.active_slabs);
    row.set_total_slabs(from.usage.slabs);
  }
}

void fill(v1::ListHoldersResponse& out, const Holders& holders) {
  for (const HolderRow& from : holders.rows) {
    v1::HolderRow& row = *out.add_holders();
    row.set_session(from.session.value);
    row.set_session_name(from.session_name);
    row.set_tag(from.tag);
    row.set_blocks(from.blocks);
    row.set_bytes(from.bytes);
  }
  out.set_total_blocks(holders.total_blocks);
  out.set_total_bytes(holders.total_bytes);
}

void fill(v1::AuditReport& out, const AuditResult& audit) {
  for (const AuditedArena& audited : audit.arenas) fill(*out.add_arenas(), audited);
  out.set_exact(audit.exact);
  out.set_p0_counter_mismatch(audit.p0_counter_mismatch);
  out.set_p0_counter_ok(audit.p0_counter_ok);
}

void fill(v1::Tunables& out, const std::vector<TunableFacts>& tunables) {
  for (const TunableFacts& facts : tunables) {
    v1::Tunable& tunable = *out.add_tunables();
    tunable.set_name(facts.name);
    tunable.set_value(facts.value);
    tunable.set_default_value(facts.default_value);
    tunable.set_description(facts.description);
  }
}

void fill(v1::TrimArenasResponse& out, const TrimFacts& trimmed) {
  out.set_committed_bytes_before(trimmed.committed_bytes_before);
  out.set_committed_bytes(trimmed.committed_bytes);
}

void fill(v1::SetSessionLimitResponse& out, const SessionLimitFacts& limit) {
  out.set_limit_bytes(limit.limit_bytes);
  out.set_charged_bytes(limit.charged_bytes);
}

}  // namespace arenad::server
