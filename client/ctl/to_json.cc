#include "client/ctl/to_json.h"

#include <cstdio>
#include <nlohmann/json.hpp>

namespace arenad::ctl {

using nlohmann::json;

std::string octal(std::uint32_t mode) {
  char text[16];
  std::snprintf(text, sizeof text, "%04o", mode);
  return text;
}

const char* mode_name(client::AttachMode mode) {
  switch (mode) {
    case client::AttachMode::kRemote: return "remote";
    case client::AttachMode::kReader: return "reader";
    case client::AttachMode::kWriter: return "writer";
    case client::AttachMode::kPeer: return "peer";
  }
  return "unknown";
}

json to_json(const client::ArenaInfo& a) {
  return {
      {"id", a.id.value},
      {"name", a.name},
      {"capacity_bytes", a.capacity_bytes},
      {"holder_only", a.holder_only},
      {"pinned", a.pinned},
      {"locked", a.locked},
      {"zero", a.zero},
      {"scrub", a.scrub},
      {"huge_pages",
       {{"wanted", a.huge_pages},
        {"bytes", a.huge_page_bytes},
        {"fallback", a.huge_page_fallback}}},
      {"numa", {{"policy", a.numa}, {"fallback", a.numa_fallback}}},
      {"debug", a.debug},
      {"debug_findings", a.debug_findings},
      {"access", {{"uid", a.access.uid}, {"gid", a.access.gid}, {"mode", octal(a.access.mode)}}},
      {"committed_bytes", a.committed_bytes},
      {"held_bytes", a.held_bytes},
      {"held_blocks", a.held_blocks},
      {"sessions", a.sessions},
      {"quarantined", a.quarantined},
      {"quarantine_reason", a.quarantine_reason}};
}

json to_json(const client::BlockInfo& b) {
  const auto event = [](const client::BlockEvent& e) {
    return json{{"session", e.session.value}, {"tag", e.tag}, {"time_ns", e.time_ns}};
  };
  json block = {{"ref", b.ref.value},
                {"state", client::block_state_name(b.state)},
                {"offset_bytes", b.offset_bytes},
                {"usable_bytes", b.usable_bytes},
                {"stride_bytes", b.stride_bytes},
                {"holder", b.holder.value},
                {"tag", b.tag},
                {"heap", b.heap.value},
                {"generation", b.generation},
                {"size_class", b.size_class.value}};
  if (b.track)
    block["track"] = {{"allocated", event(b.track->allocated)}, {"freed", event(b.track->freed)}};
  return block;
}

json to_json(const client::SlabUsage& r) {
  return {{"arena", r.arena},
          {"shard", r.shard.value},
          {"peers", r.peers},
          {"size_class", r.size_class.value},
          {"usable_bytes", r.usable_bytes},
          {"stride_bytes", r.stride_bytes},
          {"blocks_per_slab", r.blocks_per_slab},
          {"slab_bytes", r.slab_bytes},
          {"active_blocks", r.active_blocks},
          {"total_blocks", r.total_blocks},
          {"cached_blocks", r.cached_blocks},
          {"free_blocks", r.free_blocks},
          {"uncarved_blocks", r.uncarved_blocks},
          {"active_slabs", r.active_slabs},
          {"total_slabs", r.total_slabs}};
}

json to_json(const client::Holders& holders) {
  json rows = json::array();
  for (const auto& h : holders.rows)
    rows.push_back({{"session", h.session.value},
                    {"session_name", h.session_name},
                    {"tag", h.tag},
                    {"blocks", h.blocks},
                    {"bytes", h.bytes}});
  return {{"holders", rows},
          {"total_blocks", holders.total_blocks},
          {"total_bytes", holders.total_bytes}};
}

json to_json(const client::SessionInfo& s) {
  json attachments = json::array();
  for (const auto& a : s.attachments)
    attachments.push_back({{"arena", a.arena},
                           {"mode", mode_name(a.mode)},
                           {"held_blocks", a.held_blocks},
                           {"held_bytes", a.held_bytes},
                           {"leased_bytes", a.leased_bytes}});
  return {{"id", s.id.value},
          {"name", s.name},
          {"pid", s.pid},
          {"uid", s.uid},
          {"bound", s.bound},
          {"keepalive", s.keepalive},
          {"state", s.state},
          {"age_ms", s.age_ms},
          {"limit_bytes", s.limit_bytes},
          {"reserve_bytes", s.reserve_bytes},
          {"attachments", attachments}};
}

json to_json(const client::AuditReport& report) {
  json arenas = json::array();
  for (const auto& a : report.arenas)
    arenas.push_back({{"arena", a.arena},
                      {"slabs", a.slabs},
                      {"leased_slabs", a.leased_slabs},
                      {"capacity_blocks", a.capacity_blocks},
                      {"held", a.held},
                      {"shared", a.shared},
                      {"returning", a.returning},
                      {"cached", a.cached},
                      {"free", a.free},
                      {"uncarved", a.uncarved},
                      {"held_bytes", a.held_bytes},
                      {"counted_held", a.counted_held},
                      {"mismatches", a.mismatches},
                      {"findings", a.findings},
                      {"exact", a.exact},
                      {"scan_us", a.scan_us}});
  return {{"arenas", arenas},
          {"exact", report.exact},
          {"p0_counter_mismatch", report.p0_counter_mismatch},
          {"p0_counter_ok", report.p0_counter_ok}};
}

json to_json(const client::Tunable& t) {
  return {{"name", t.name},
          {"value", t.value},
          {"default_value", t.default_value},
          {"description", t.description}};
}

json to_json(const client::Stats& stats) {
  json shards = json::array();
  for (const auto& s : stats.shards) {
    json heap;
    for (const HeapCounterRow& row : kHeapCounterRows) heap[row.name] = s.heap.*row.value;
    shards.push_back({{"shard", s.shard.value},
                      {"heap", heap},
                      {"calls", s.calls},
                      {"remote_frees_to", s.remote_frees_to},
                      {"loop_turns", s.loop_turns},
                      {"inbox_messages", s.inbox_messages},
                      {"idle_drains", s.idle_drains}});
  }
  return {{"shards", shards},
          {"arenas", stats.arenas},
          {"sessions", stats.sessions},
          {"sessions_reaped", stats.sessions_reaped},
          {"committed_bytes", stats.committed_bytes},
          {"capacity_bytes", stats.capacity_bytes},
          {"held_blocks", stats.held_blocks},
          {"held_bytes", stats.held_bytes},
          {"leased_slabs", stats.leased_slabs},
          {"leased_bytes", stats.leased_bytes},
          {"reserved_bytes", stats.reserved_bytes},
          {"set_aside_bytes", stats.set_aside_bytes},
          {"uptime_ms", stats.uptime_ms}};
}

json to_json(const client::Topology& t) {
  json shards = json::array();
  for (const auto& s : t.shards)
    shards.push_back({{"index", s.index.value},
                      {"address", s.address},
                      {"cpu", s.cpu},
                      {"numa_node", s.numa_node}});
  return {{"version", t.version},           {"common_address", t.common_address},
          {"handoff_path", t.handoff_path}, {"shards", shards},
          {"build_type", t.build_type},     {"p0_batch_refill_built", t.p0_batch_refill_built},
          {"uptime_ms", t.uptime_ms}};
}

}  // namespace arenad::ctl
