#include "client/ctl/show.h"

#include <fmt/chrono.h>

#include <ctime>
#include <iostream>
#include <nlohmann/json.hpp>

#include "allocator/base/format.h"
#include "client/ctl/commands.h"
#include "client/ctl/output.h"
#include "client/ctl/to_json.h"

namespace arenad::ctl {
namespace {

using nlohmann::json;
using std::to_string;

void print_json(const json& answer) { std::cout << answer.dump(2) << '\n'; }

template <class T>
json list(const char* name, const std::vector<T>& items) {
  json all = json::array();
  for (const T& item : items) all.push_back(to_json(item));
  return {{name, all}};
}

// The usable bytes of a block of the row, or "span".
std::string class_name(const client::SlabUsage& row) {
  return row.size_class == client::kSpanClass ? "span" : to_string(row.usable_bytes);
}

// In hexadecimal, as programs that pack something into a tag write it down.
std::string tag_text(std::uint32_t tag) { return tag == 0 ? "0" : fmt::format("{:#x}", tag); }

// What came of the options that the kernel need not follow.
void print_pages(const client::ArenaInfo& a) {
  if (a.huge_pages)
    std::cout << a.name << ": " << bytes_text(a.huge_page_bytes) << " of "
              << bytes_text(a.committed_bytes) << " in huge pages"
              << (a.huge_page_fallback.empty() ? "" : ": " + a.huge_page_fallback) << '\n';
  if (!a.numa_fallback.empty())
    std::cout << a.name << ": numa=" << a.numa << ": " << a.numa_fallback << '\n';
}

void print_arenas(const std::vector<client::ArenaInfo>& arenas) {
  Table table({"NAME", ">ID", ">CAPACITY", ">COMMITTED", ">HELD", ">BLOCKS", ">SESSIONS", "UID:GID",
               "MODE", "OPTIONS"});
  for (const client::ArenaInfo& a : arenas) {
    std::string options;
    if (a.holder_only) options += "holder-only ";
    if (a.pinned) options += "pinned ";
    if (a.locked) options += "locked ";
    if (a.zero) options += "zero ";
    if (a.scrub) options += "scrub ";
    if (a.huge_pages) options += "huge-pages ";
    if (!a.numa.empty()) options += "numa=" + a.numa + " ";
    if (!a.debug.empty()) options += "debug=" + a.debug + " ";
    if (a.debug_findings != 0) options += to_string(a.debug_findings) + " findings ";
    if (a.quarantined) options += "QUARANTINED: " + a.quarantine_reason;
    table.add({a.name, to_string(a.id.value), bytes_text(a.capacity_bytes),
               bytes_text(a.committed_bytes), bytes_text(a.held_bytes), to_string(a.held_blocks),
               to_string(a.sessions), to_string(a.access.uid) + ":" + to_string(a.access.gid),
               octal(a.access.mode), options});
  }
  table.print(std::cout);
  for (const client::ArenaInfo& a : arenas) print_pages(a);
}

// One row for each counter, one column for each shard.
void print_counters(const std::vector<client::ShardStats>& shards) {
  std::vector<std::string> columns{"COUNTER"};
  for (const auto& s : shards) columns.push_back(">SHARD " + to_string(s.shard.value));
  columns.push_back("MEANING");
  Table table(columns);
  const auto add = [&](const char* name, auto value_of, const char* meaning) {
    std::vector<std::string> row{name};
    for (const auto& s : shards) row.push_back(to_string(value_of(s)));
    row.push_back(meaning);
    table.add(std::move(row));
  };
  using Shard = client::ShardStats;
  add(
      "calls", [](const Shard& s) { return s.calls; }, "unary calls and stream messages served");
  for (const HeapCounterRow& row : kHeapCounterRows)
    add(
        row.name, [&row](const Shard& s) { return s.heap.*row.value; }, row.help);
  add(
      "loop_turns", [](const Shard& s) { return s.loop_turns; },
      "turns of the shard's loop that found an event");
  add(
      "inbox_messages", [](const Shard& s) { return s.inbox_messages; },
      "messages from other threads");
  add(
      "idle_drains", [](const Shard& s) { return s.idle_drains; }, "drains on the idle timer");
  table.print(std::cout);
}

// Blocks freed on one shard that another shard's heap owns.
void print_remote_frees(const std::vector<client::ShardStats>& shards) {
  std::vector<std::string> columns{"REMOTE FREES"};
  for (const auto& s : shards) columns.push_back(">TO " + to_string(s.shard.value));
  Table pairs(columns);
  for (const auto& s : shards) {
    std::vector<std::string> row{"from shard " + to_string(s.shard.value)};
    for (std::size_t to = 0; to < shards.size(); ++to)
      row.push_back(to < s.remote_frees_to.size() ? to_string(s.remote_frees_to[to]) : "0");
    pairs.add(std::move(row));
  }
  pairs.print(std::cout);
}

}  // namespace

int show_arena(const client::ArenaInfo& arena, bool as_json) {
  if (as_json)
    print_json(to_json(arena));
  else
    print_arenas({arena});
  return kExitOk;
}

int show_arenas(const std::vector<client::ArenaInfo>& arenas, bool as_json) {
  if (as_json)
    print_json(list("arenas", arenas));
  else
    print_arenas(arenas);
  return kExitOk;
}

int show_deleted(const std::string& name, bool as_json) {
  if (as_json)
    print_json({{"deleted", name}});
  else
    std::cout << "deleted " << name << '\n';
  return kExitOk;
}

int show_slabinfo(const std::vector<client::SlabUsage>& rows, bool as_json) {
  if (as_json) return print_json(list("rows", rows)), kExitOk;
  Table table({"ARENA", ">SHARD", ">SIZE", ">STRIDE", ">PER_SLAB", ">SLAB", ">ACTIVE_BLOCKS",
               ">BLOCKS", ">CACHED", ">FREE", ">UNCARVED", ">ACTIVE_SLABS", ">SLABS"});
  for (const auto& r : rows)
    table.add({r.arena, r.peers ? "peers" : to_string(r.shard.value), class_name(r),
               to_string(r.stride_bytes), to_string(r.blocks_per_slab), bytes_text(r.slab_bytes),
               to_string(r.active_blocks), to_string(r.total_blocks), to_string(r.cached_blocks),
               to_string(r.free_blocks), to_string(r.uncarved_blocks), to_string(r.active_slabs),
               to_string(r.total_slabs)});
  table.print(std::cout);
  return kExitOk;
}

int show_blocks(const std::vector<client::BlockInfo>& blocks, bool as_json) {
  if (as_json) return print_json(list("blocks", blocks)), kExitOk;
  const auto event = [](const client::BlockEvent& e) {
    if (e.time_ns == 0) return std::string("unknown");
    const auto seconds = static_cast<std::time_t>(e.time_ns / 1'000'000'000);
    return fmt::format("session {} tag {} {:%Y-%m-%dT%H:%M:%S}.{:06}Z", e.session.value,
                       tag_text(e.tag), fmt::gmtime(seconds), e.time_ns % 1'000'000'000 / 1000);
  };
  Table table(
      {"REF", "STATE", ">HOLDER", ">TAG", ">OFFSET", ">USABLE", ">HEAP", "ALLOCATED", "FREED"});
  for (const client::BlockInfo& b : blocks)
    table.add({fmt::format("0x{:016x}", b.ref.value), client::block_state_name(b.state),
               to_string(b.holder.value), tag_text(b.tag), to_string(b.offset_bytes),
               to_string(b.usable_bytes), to_string(b.heap.value),
               b.track ? event(b.track->allocated) : "", b.track ? event(b.track->freed) : ""});
  table.print(std::cout);
  return kExitOk;
}

int show_holders(const client::Holders& holders, bool as_json) {
  if (as_json) return print_json(to_json(holders)), kExitOk;
  Table table({">SESSION", "NAME", ">TAG", ">BLOCKS", ">HELD"});
  for (const auto& h : holders.rows)
    table.add({to_string(h.session.value), h.session_name, tag_text(h.tag), to_string(h.blocks),
               bytes_text(h.bytes)});
  table.print(std::cout);
  std::cout << "total: " << holders.total_blocks << " blocks, " << bytes_text(holders.total_bytes)
            << '\n';
  return kExitOk;
}

int show_session_limit(const client::SessionLimit& limit, bool as_json) {
  if (as_json)
    return print_json({{"limit_bytes", limit.limit_bytes}, {"charged_bytes", limit.charged_bytes}}),
           kExitOk;
  if (limit.limit_bytes == 0) return std::cout << "no limit\n", kExitOk;
  std::cout << "limit " << bytes_text(limit.limit_bytes) << ", of which "
            << bytes_text(limit.charged_bytes) << " are held or leased\n";
  return kExitOk;
}

int show_trim(const client::TrimResult& trimmed, bool as_json) {
  if (as_json)
    return print_json({{"committed_bytes_before", trimmed.committed_bytes_before},
                       {"committed_bytes", trimmed.committed_bytes}}),
           kExitOk;
  std::cout << bytes_text(trimmed.committed_bytes) << " committed, "
            << bytes_text(trimmed.committed_bytes_before) << " before\n";
  return kExitOk;
}

int show_given_back(const client::GivenBack& given, bool as_json) {
  if (as_json)
    return print_json({{"blocks_given_back", given.blocks}, {"bytes_given_back", given.bytes}}),
           kExitOk;
  std::cout << given.blocks << " blocks of " << bytes_text(given.bytes) << " given back\n";
  return kExitOk;
}

int show_sessions(const std::vector<client::SessionInfo>& sessions, bool as_json) {
  if (as_json) return print_json(list("sessions", sessions)), kExitOk;
  Table table({">ID", "NAME", ">PID", ">UID", "ALIVE_BY", "STATE", ">AGE", "ARENA", "MODE",
               ">BLOCKS", ">HELD", ">LEASED", ">LIMIT", ">RESERVE"});
  for (const auto& s : sessions) {
    const std::string alive_by = s.bound ? "process" : s.keepalive ? "keepalive" : "grace";
    const std::vector<std::string> facts{to_string(s.id.value),
                                         s.name,
                                         s.bound ? to_string(s.pid) : "-",
                                         s.bound ? to_string(s.uid) : "-",
                                         alive_by,
                                         s.state,
                                         human_duration(s.age_ms)};
    const auto add = [&](std::vector<std::string> attached) {
      attached.insert(attached.begin(), facts.begin(), facts.end());
      attached.push_back(s.limit_bytes == 0 ? "-" : bytes_text(s.limit_bytes));
      attached.push_back(s.reserve_bytes == 0 ? "-" : bytes_text(s.reserve_bytes));
      table.add(std::move(attached));
    };
    if (s.attachments.empty()) add({"-", "-", "0", bytes_text(0), bytes_text(0)});
    for (const auto& a : s.attachments)
      add({a.arena, mode_name(a.mode), to_string(a.held_blocks), bytes_text(a.held_bytes),
           bytes_text(a.leased_bytes)});
  }
  table.print(std::cout);
  return kExitOk;
}

int show_audit(const client::AuditReport& report, bool as_json) {
  const int exit_code = report.exact ? kExitOk : kExitNotExact;
  if (as_json) return print_json(to_json(report)), exit_code;
  Table table({"ARENA", ">SLABS", ">CAPACITY", ">HELD", ">SHARED", ">RETURNING", ">CACHED", ">FREE",
               ">UNCARVED", ">COUNTED_HELD", ">HELD_BYTES", ">MISMATCHES", "EXACT", ">SCAN_US"});
  for (const auto& a : report.arenas)
    table.add({a.arena, to_string(a.slabs), to_string(a.capacity_blocks), to_string(a.held),
               to_string(a.shared), to_string(a.returning), to_string(a.cached), to_string(a.free),
               to_string(a.uncarved), to_string(a.counted_held), bytes_text(a.held_bytes),
               to_string(a.mismatches), yes_no(a.exact), to_string(a.scan_us)});
  table.print(std::cout);
  for (const auto& a : report.arenas) {
    for (const auto& finding : a.findings) std::cout << a.arena << ": " << finding << '\n';
    if (a.mismatches > a.findings.size())
      std::cout << a.arena << ": " << a.mismatches - a.findings.size() << " more findings\n";
  }
  std::cout << (report.p0_counter_mismatch == 0 ? "[P0_COUNTER_OK] " : "[P0_COUNTER_MISMATCH] ")
            << report.p0_counter_ok << " refills agreed, " << report.p0_counter_mismatch
            << " did not\n"
            << "audit: "
            << (report.exact ? "exact"
                             : "NOT EXACT; keep this output and the daemon's log, and report it")
            << '\n';
  return exit_code;
}

int show_tunables(const std::vector<client::Tunable>& tunables, bool as_json) {
  if (as_json) return print_json(list("tunables", tunables)), kExitOk;
  Table table({"NAME", ">VALUE", ">DEFAULT", "DESCRIPTION"});
  for (const auto& t : tunables) table.add({t.name, t.value, t.default_value, t.description});
  table.print(std::cout);
  return kExitOk;
}

int show_stats(const client::Stats& stats, bool as_json) {
  if (as_json) return print_json(to_json(stats)), kExitOk;
  std::cout << "arenas " << stats.arenas << ", sessions " << stats.sessions << " ("
            << stats.sessions_reaped << " reaped), up " << human_duration(stats.uptime_ms)
            << "\nheld " << stats.held_blocks << " blocks, " << bytes_text(stats.held_bytes)
            << "; committed " << bytes_text(stats.committed_bytes) << " of "
            << bytes_text(stats.capacity_bytes) << "\nleased to peers " << stats.leased_slabs
            << " slabs, " << bytes_text(stats.leased_bytes) << "\nreserved by sessions "
            << bytes_text(stats.reserved_bytes) << ", of which "
            << bytes_text(stats.set_aside_bytes) << " are set aside\n\n";
  print_counters(stats.shards);
  std::cout << '\n';
  print_remote_frees(stats.shards);
  return kExitOk;
}

int show_topology(const client::Topology& t, bool as_json) {
  if (as_json) return print_json(to_json(t)), kExitOk;
  std::cout << "arenad " << t.version << " (" << t.build_type << "), P0 batch refill "
            << (t.p0_batch_refill_built ? "built in" : "not built in") << ", up "
            << human_duration(t.uptime_ms) << "\ncommon   " << t.common_address << "\nhandoff  "
            << t.handoff_path << '\n';
  const auto number = [](int n) { return n < 0 ? std::string("-") : to_string(n); };
  Table table({">SHARD", ">CPU", ">NUMA", "ADDRESS"});
  for (const auto& s : t.shards)
    table.add({to_string(s.index.value), number(s.cpu), number(s.numa_node), s.address});
  table.print(std::cout);
  return kExitOk;
}

int show_health(bool as_json) {
  if (as_json)
    print_json({{"status", "SERVING"}});
  else
    std::cout << "SERVING\n";
  return kExitOk;
}

}  // namespace arenad::ctl
