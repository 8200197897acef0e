#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "client/ctl/commands.h"
#include "client/ctl/output.h"
#include "client/ctl/to_json.h"

namespace arenad::ctl {
namespace {

using client::Admin;
using client::Answer;
using client::Client;
using nlohmann::json;
using std::to_string;

void show(const json& answer) { std::cout << answer.dump(2) << '\n'; }

template <class T>
json list(const char* name, const std::vector<T>& items) {
  json all = json::array();
  for (const T& item : items) all.push_back(to_json(item));
  return {{name, all}};
}

// What a block of the row offers, in bytes, or that it is a span.
std::string class_name(const client::SlabUsage& row) {
  return row.size_class == 255 ? "span" : to_string(row.usable_bytes);
}

int show_slabinfo(const std::vector<client::SlabUsage>& rows, bool as_json) {
  if (as_json) return show(list("rows", rows)), kExitOk;
  Table table({"ARENA", ">SHARD", ">SIZE", ">STRIDE", ">PER_SLAB", ">SLAB", ">ACTIVE_BLOCKS",
               ">BLOCKS", ">CACHED", ">FREE", ">UNCARVED", ">ACTIVE_SLABS", ">SLABS"});
  for (const auto& r : rows)
    table.add({r.arena, r.peers ? "peers" : to_string(r.shard), class_name(r),
               to_string(r.stride_bytes), to_string(r.blocks_per_slab), human_bytes(r.slab_bytes),
               to_string(r.active_blocks), to_string(r.total_blocks), to_string(r.cached_blocks),
               to_string(r.free_blocks), to_string(r.uncarved_blocks), to_string(r.active_slabs),
               to_string(r.total_slabs)});
  table.print(std::cout);
  return kExitOk;
}

int show_holders(const client::Holders& holders, bool as_json) {
  if (as_json) return show(to_json(holders)), kExitOk;
  Table table({">SESSION", "NAME", ">TAG", ">BLOCKS", ">HELD"});
  for (const auto& h : holders.rows)
    table.add({to_string(h.session), h.session_name, to_string(h.tag), to_string(h.blocks),
               human_bytes(h.bytes)});
  table.print(std::cout);
  std::cout << "total: " << holders.total_blocks << " blocks, " << human_bytes(holders.total_bytes)
            << '\n';
  return kExitOk;
}

int show_sessions(const std::vector<client::SessionInfo>& sessions, bool as_json) {
  if (as_json) return show(list("sessions", sessions)), kExitOk;
  Table table({">ID", "NAME", ">PID", ">UID", "ALIVE_BY", "STATE", ">AGE", "ARENA", "MODE",
               ">BLOCKS", ">HELD", ">LEASED", ">LIMIT"});
  for (const auto& s : sessions) {
    const std::string alive_by = s.bound ? "process" : s.keepalive ? "keepalive" : "grace";
    const std::vector<std::string> facts{to_string(s.id),
                                         s.name,
                                         s.bound ? to_string(s.pid) : "-",
                                         s.bound ? to_string(s.uid) : "-",
                                         alive_by,
                                         s.state,
                                         human_duration(s.age_ms)};
    const auto add = [&](std::vector<std::string> attached) {
      attached.insert(attached.begin(), facts.begin(), facts.end());
      attached.push_back(s.limit_bytes == 0 ? "-" : human_bytes(s.limit_bytes));
      table.add(std::move(attached));
    };
    if (s.attachments.empty()) add({"-", "-", "0", human_bytes(0), human_bytes(0)});
    for (const auto& a : s.attachments)
      add({a.arena, mode_name(a.mode), to_string(a.held_blocks), human_bytes(a.held_bytes),
           human_bytes(a.leased_bytes)});
  }
  table.print(std::cout);
  return kExitOk;
}

int show_audit(const client::AuditReport& report, bool as_json) {
  const int exit_code = report.exact ? kExitOk : kExitNotExact;
  if (as_json) return show(to_json(report)), exit_code;
  Table table({"ARENA", ">SLABS", ">CAPACITY", ">HELD", ">SHARED", ">RETURNING", ">CACHED", ">FREE",
               ">UNCARVED", ">COUNTED_HELD", ">HELD_BYTES", ">MISMATCHES", "EXACT", ">SCAN_US"});
  for (const auto& a : report.arenas)
    table.add({a.arena, to_string(a.slabs), to_string(a.capacity_blocks), to_string(a.held),
               to_string(a.shared), to_string(a.returning), to_string(a.cached), to_string(a.free),
               to_string(a.uncarved), to_string(a.counted_held), human_bytes(a.held_bytes),
               to_string(a.mismatches), yes_no(a.exact), to_string(a.scan_us)});
  table.print(std::cout);
  for (const auto& a : report.arenas)
    for (const auto& finding : a.findings) std::cout << a.arena << ": " << finding << '\n';
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
  if (as_json) return show(list("tunables", tunables)), kExitOk;
  Table table({"NAME", ">VALUE", ">DEFAULT", "DESCRIPTION"});
  for (const auto& t : tunables) table.add({t.name, t.value, t.default_value, t.description});
  table.print(std::cout);
  return kExitOk;
}

int show_stats(const client::Stats& stats, bool as_json) {
  if (as_json) return show(to_json(stats)), kExitOk;
  std::cout << "arenas " << stats.arenas << ", sessions " << stats.sessions << " ("
            << stats.sessions_reaped << " reaped), up " << human_duration(stats.uptime_ms)
            << "\nheld " << stats.held_blocks << " blocks, " << human_bytes(stats.held_bytes)
            << "; committed " << human_bytes(stats.committed_bytes) << " of "
            << human_bytes(stats.capacity_bytes) << "\nleased to peers " << stats.leased_slabs
            << " slabs, " << human_bytes(stats.leased_bytes) << "\n\n";
  Table table({">SHARD", ">CALLS", ">ALLOCS", ">LOCAL_FREES", ">REMOTE_FREES", ">REFILLS",
               ">DRAINED", ">SPLICED", ">CARVED", ">NEW_SLABS", ">RELEASED", ">SPANS", ">P0_OK",
               ">P0_MISMATCH", ">GUARD_TRIPS", ">CANARIES"});
  for (const auto& s : stats.shards) {
    const auto& h = s.heap;
    table.add({to_string(s.shard), to_string(s.calls), to_string(h.allocs),
               to_string(h.local_frees), to_string(h.remote_frees), to_string(h.refills),
               to_string(h.drained_blocks), to_string(h.spliced_blocks), to_string(h.carved_blocks),
               to_string(h.new_slabs), to_string(h.released_slabs), to_string(h.spans),
               to_string(h.p0_counter_ok), to_string(h.p0_counter_mismatch),
               to_string(h.guard_trips), to_string(h.canary_damaged)});
  }
  table.print(std::cout);
  std::vector<std::string> columns{"REMOTE FREES"};
  for (const auto& s : stats.shards) columns.push_back(">TO " + to_string(s.shard));
  Table pairs(columns);
  for (const auto& s : stats.shards) {
    std::vector<std::string> row{"from shard " + to_string(s.shard)};
    for (std::size_t to = 0; to < stats.shards.size(); ++to)
      row.push_back(to < s.remote_frees_to.size() ? to_string(s.remote_frees_to[to]) : "0");
    pairs.add(std::move(row));
  }
  std::cout << '\n';
  pairs.print(std::cout);
  return kExitOk;
}

int show_topology(const client::Topology& t, bool as_json) {
  if (as_json) return show(to_json(t)), kExitOk;
  std::cout << "arenad " << t.version << " (" << t.build_type << "), P0 batch refill "
            << (t.p0_batch_refill_built ? "built in" : "not built in") << ", up "
            << human_duration(t.uptime_ms) << "\ncommon   " << t.common_address << "\nhandoff  "
            << t.handoff_path << '\n';
  Table table({">SHARD", ">CPU", "ADDRESS"});
  for (const auto& s : t.shards)
    table.add({to_string(s.index), s.cpu < 0 ? "-" : to_string(s.cpu), s.address});
  table.print(std::cout);
  return kExitOk;
}

// Adds a subcommand that makes one call and shows its answer.
template <class Call, class Show>
CLI::App* add(CLI::App& app, const char* name, const char* help, Invocation& invocation, Call call,
              Show show_answer) {
  auto* command = app.add_subcommand(name, help);
  command->callback([&invocation, call, show_answer] {
    invocation.action = [&invocation, call, show_answer](const Client& client) -> Answer<int> {
      const auto answer = call(client);
      if (!answer) return answer.error();
      return show_answer(*answer, invocation.json);
    };
  });
  return command;
}

std::shared_ptr<std::string> text() { return std::make_shared<std::string>(); }

void add_tune(CLI::App& app, Invocation& invocation) {
  auto* tune = app.add_subcommand("tune", "Show and change the daemon's tunables");
  tune->require_subcommand(1);
  auto names = std::make_shared<std::vector<std::string>>();
  auto* get = add(
      *tune, "get", "All tunables, or those named", invocation,
      [names](const Client& client) -> Answer<std::vector<client::Tunable>> {
        auto all = Admin(client).tunables();
        if (!all || names->empty()) return all;
        std::vector<client::Tunable> wanted;
        for (const std::string& name : *names) {
          const auto found =
              std::find_if(all->begin(), all->end(), [&](const auto& t) { return t.name == name; });
          if (found == all->end())
            return client::Status{
                client::Code::kInvalidArgument, Error::kInvalidOption,
                "there is no tunable " + name + "; `arenactl tune get` lists them"};
          wanted.push_back(*found);
        }
        return wanted;
      },
      show_tunables);
  get->add_option("name", *names, "Tunables; default: all");

  auto settings = std::make_shared<std::vector<std::pair<std::string, std::string>>>();
  auto* set = add(
      *tune, "set", "Change tunables, all or none of them, live; shows all tunables", invocation,
      [settings](const Client& client) { return Admin(client).set_tunables(*settings); },
      show_tunables);
  set->add_option_function<std::vector<std::string>>(
         "setting",
         [settings](const std::vector<std::string>& words) {
           for (const std::string& word : words) {
             const auto equals = word.find('=');
             if (equals == std::string::npos || equals == 0)
               throw CLI::ValidationError("setting", "not NAME=VALUE: " + word);
             settings->emplace_back(word.substr(0, equals), word.substr(equals + 1));
           }
         },
         "NAME=VALUE ...")
      ->required();
}

}  // namespace

void add_admin_commands(CLI::App& app, Invocation& invocation) {
  auto arena = text();
  add(
      app, "slabinfo", "Slabs per arena, shard and size class, as in /proc/slabinfo", invocation,
      [arena](const Client& c) { return Admin(c).slab_info(*arena); }, show_slabinfo)
      ->add_option("arena", *arena, "Arena; default: all");

  auto held = text();
  auto limit = std::make_shared<std::uint32_t>(100);
  auto* holders = add(
      app, "holders", "Who holds what in an arena, by session and tag, largest first", invocation,
      [held, limit](const Client& c) { return Admin(c).holders(*held, *limit); }, show_holders);
  holders->add_option("arena", *held, "Arena")->required();
  holders->add_option("--limit", *limit, "Rows; default 100")->check(CLI::Range(1, 1'000'000));

  add(
      app, "sessions", "All sessions, with what they are attached to and hold", invocation,
      [](const Client& c) { return Admin(c).sessions(); }, show_sessions);

  auto audited = text();
  add(
      app, "audit",
      "Compare counters, block words and the owners' own state, slab by slab; the shards stand "
      "still meanwhile. Exit 3 when not exact",
      invocation, [audited](const Client& c) { return Admin(c).audit(*audited); }, show_audit)
      ->add_option("arena", *audited, "Arena; default: all");

  add_tune(app, invocation);

  auto counted = text();
  add(
      app, "stats", "Counters per shard, and remote frees per pair of shards", invocation,
      [counted](const Client& c) { return Admin(c).stats(*counted); }, show_stats)
      ->add_option("arena", *counted, "Arena; default: all added up");

  add(
      app, "topology", "The daemon's version, sockets and shards", invocation,
      [](const Client& c) { return Answer<client::Topology>(c.topology()); }, show_topology);

  auto* health = app.add_subcommand("health", "Whether the daemon serves: prints it, exit 0 or 1");
  health->callback([&invocation] {
    invocation.action = [&invocation](const Client& client) -> Answer<int> {
      if (const auto status = client.health(); !status.ok()) return status;
      if (invocation.json)
        show({{"status", "SERVING"}});
      else
        std::cout << "SERVING\n";
      return kExitOk;
    };
  });
}

}  // namespace arenad::ctl
