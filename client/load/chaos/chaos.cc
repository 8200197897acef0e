#include "client/load/chaos/chaos.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "client/load/chaos/board.h"
#include "client/load/chaos/boot_id.h"
#include "client/load/chaos/daemon.h"
#include "client/load/chaos/driver.h"
#include "client/load/chaos/peer.h"
#include "client/load/link.h"

namespace arenad::load {
namespace {

using chaos::Board;
using chaos::ChaosDaemon;
using chaos::Driver;
using ull = unsigned long long;

constexpr auto kHomeWithin =
    std::chrono::seconds(30);  // until the dead are reaped and all blocks are back

struct Verdict {
  std::uint64_t lost = 0;
  std::uint64_t quarantined = 0;  // arenas
  std::uint64_t mismatches = 0;
  std::vector<std::string> details;
  client::AuditReport audit;
};

// What names, in the daemon's log, its starts and the sessions of the findings.
std::set<std::string> words_of(const std::vector<std::string>& findings) {
  std::set<std::string> words{"state directory: "};
  const std::regex session("session [0-9]+");
  for (const std::string& finding : findings)
    if (std::smatch found; std::regex_search(finding, found, session))
      words.insert(found.str() + " ");
  return words;
}

// The survivors work on. So a session of the main arena that no seat has is one that its process
// has left: by exec, or by a close that found no daemon. Or its process is dead. All of these must
// end without the end of another process.
void wait_for_left_sessions(const std::string& sockets, Board& board) {
  const std::string prefix = "chaos-", side = std::string(chaos::kSideArena);
  const auto is_left = [&](const client::SessionInfo& s) {
    if (!s.name.starts_with(prefix) || s.name.starts_with(side)) return false;
    for (std::uint32_t i = 0; i < board.peers; ++i)
      if (board.seats[i].session.load() == s.id.value) return false;
    return true;
  };
  const auto client = client::Client::connect(sockets, {.wait_ready_ms = 20'000});
  if (!client.ok()) return;  // judge() says so
  const client::Admin admin(*client);
  const auto deadline = std::chrono::steady_clock::now() + kHomeWithin;
  for (;;) {
    const auto sessions = admin.sessions();
    if (!sessions.ok()) return board.found(board.damaged, "sessions: " + sessions.error().text());
    const auto left = std::find_if(sessions->begin(), sessions->end(), is_left);
    if (left == sessions->end()) return;
    if (std::chrono::steady_clock::now() > deadline)
      return board.found(board.damaged, "session " + std::to_string(left->id.value) + " (" +
                                            left->name + ", " + left->state +
                                            ") is still there, and its process has left it");
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

// Opens a session that keeps a block, so that a test sees the audit find it.
class Leak {
 public:
  Leak(const std::string& sockets, const Options& options) {
    if (options.chaos.plant != "leak") return;
    client_ = or_throw(client::Client::connect(sockets), "connect");
    session_ = or_throw(client::Session::open(client_, {.name = "planted"}), "open a session");
    const auto arena =
        or_throw(session_.attach(chaos::kMainArena, client::AttachMode::kWriter), "attach");
    or_throw(arena.allocate_many(256, 1), "allocate");
  }

 private:
  client::Client client_;
  client::Session session_;
};

// All sessions have ended. So a block that is out, or a leased run, belongs to nobody.
Verdict judge(const std::string& sockets) {
  Verdict v;
  const auto failed = [&](const std::string& what) {
    ++v.mismatches;
    v.details.push_back(what);
  };
  const auto client = client::Client::connect(sockets, {.wait_ready_ms = 20'000});
  if (!client.ok()) {
    failed("the daemon does not answer at the end: " + client.error().text());
    return v;
  }
  const client::Admin admin(*client);
  const auto out = [](const client::ArenaAudit& a) {
    return a.held + a.shared + a.returning + a.leased_slabs;
  };
  const auto deadline = std::chrono::steady_clock::now() + kHomeWithin;
  for (;;) {
    const auto sessions = admin.sessions();
    auto audit = admin.audit();
    if (!sessions.ok() || !audit.ok()) {
      failed("audit: " + (audit.ok() ? sessions.error() : audit.error()).text());
      return v;
    }
    const bool over = std::chrono::steady_clock::now() > deadline;
    const bool home = sessions->empty() && audit->exact &&
                      std::all_of(audit->arenas.begin(), audit->arenas.end(),
                                  [&](auto& a) { return out(a) == 0; });
    v.audit = std::move(*audit);
    if (home) break;
    if (over) {
      for (const auto& s : *sessions)
        failed("session " + std::to_string(s.id.value) + " (" + s.name + ", " + s.state +
               ") is still there");
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  const auto arenas = client->list_arenas();
  if (!arenas.ok()) failed("listing the arenas: " + arenas.error().text());
  for (const client::ArenaInfo& a : arenas.ok() ? *arenas : std::vector<client::ArenaInfo>()) {
    if (!a.quarantined) continue;
    ++v.quarantined;
    v.details.push_back("the arena " + a.name + " is quarantined, " + a.quarantine_reason);
  }
  for (const client::ArenaAudit& a : v.audit.arenas) {
    v.lost += out(a);
    v.mismatches += a.mismatches + (a.exact || a.mismatches != 0 ? 0 : 1);
    for (const std::string& f : a.findings) v.details.push_back("audit: " + f);
    if (out(a) != 0)
      v.details.push_back("audit: nobody lives, and " + std::to_string(a.held) +
                          " blocks are held, " + std::to_string(a.shared) + " shared, " +
                          std::to_string(a.returning) + " returning, " +
                          std::to_string(a.leased_slabs) + " slabs leased");
  }
  v.mismatches += v.audit.p0_counter_mismatch;
  return v;
}

// What the last line of the table and the JSON have in common, in order.
std::vector<std::pair<std::string, std::uint64_t>> counts_of(const Board& board,
                                                             const Driver& driver,
                                                             const Verdict& v) {
  std::vector<std::pair<std::string, std::uint64_t>> counts;
  const ChaosCounts done = driver.done();
  for (const ChaosAction& action : kChaosActions) {
    counts.emplace_back(action.name, done.*action.count);
    if (action.count == &ChaosCounts::kills)
      counts.emplace_back("daemon_kills", driver.daemon_kills());
  }
  counts.emplace_back("lost", v.lost);
  counts.emplace_back("doubled", board.doubled.load());
  counts.emplace_back("quarantined", v.quarantined);
  counts.emplace_back("mismatches", v.mismatches);
  return counts;
}

std::string to_json(const Options& options, const Board& board, const Driver& driver,
                    const Verdict& v, const std::string& why_no_boot_ids) {
  nlohmann::json json{{"program", "arena-load"},
                      {"workload", "chaos"},
                      {"seed", options.seed},
                      {"peers", options.chaos.peers},
                      {"boot_ids_impossible", why_no_boot_ids},
                      {"seconds", driver.seconds()},
                      {"operations", driver.operations()},
                      {"findings", v.details}};
  for (const auto& [name, count] : counts_of(board, driver, v)) json[name] = count;
  return json.dump(2) + "\n";
}

void print_table(std::FILE* out, const Options& options, const Driver& driver,
                 const std::string& why_no_boot_ids) {
  const ChaosCounts done = driver.done();
  std::fprintf(out, "\n%-10s %10s %10s\n", "action", "done", "wanted");
  for (const ChaosAction& action : kChaosActions)
    std::fprintf(out, "%-10s %10llu %10llu\n", action.name, ull{done.*action.count},
                 ull{options.chaos.wanted.*action.count});
  if (!why_no_boot_ids.empty())
    std::fprintf(out, "no other boot id: it is not possible here: %s\n", why_no_boot_ids.c_str());
  std::fprintf(out, "%.1f s, %llu operations\n", driver.seconds(), ull{driver.operations()});
}

// The life of a peer that has become this program.
int run_again_as_peer(const Options& options) {
  Board& board = chaos::open_board(options.chaos.board_fd);
  return chaos::run_peer({.seat = options.chaos.seat,
                          .life = options.chaos.life,
                          .seed = options.seed,
                          .plant = options.chaos.plant,
                          .by_exec = true},
                         board);
}

}  // namespace

int run_chaos(const Options& asked) {
  if (asked.chaos.board_fd >= 0) return run_again_as_peer(asked);
  Options options = asked;
  ChaosCounts& wanted = options.chaos.wanted;
  std::FILE* const out = options.chaos.json ? stderr : stdout;
  std::fprintf(out, "chaos: %u peers, %llu kills%s, seed %llu\n", options.chaos.peers,
               ull{wanted.kills}, options.chaos.kill_daemon ? ", of the daemon too" : "",
               ull{options.seed});
  std::fflush(out);
  const std::string why_no_boot_ids =
      wanted.boot_ids == 0 ? std::string() : chaos::why_no_other_boot();
  if (!why_no_boot_ids.empty()) wanted.boot_ids = 0;
  ChaosDaemon daemon(options.chaos.arenad, options.capacity_bytes, options.chaos.kill_daemon);
  Board& board = chaos::make_board();
  board.peers = options.chaos.peers;
  board.small_timeouts = wanted.stops != 0 || wanted.closes != 0 ? 1 : 0;
  board.goes_away = board.small_timeouts != 0 || options.chaos.kill_daemon ? 1 : 0;
  std::snprintf(board.sockets, sizeof board.sockets, "%s", daemon.sockets().c_str());
  Driver driver(options, board, daemon);
  driver.run();
  driver.calm();
  wait_for_left_sessions(daemon.sockets(), board);
  driver.settle();
  const Leak leak(daemon.sockets(), options);
  Verdict v = judge(daemon.sockets());
  const std::string log = daemon.log_tail();
  if (const int code = daemon.stop(); code != 0) {
    ++v.mismatches;
    v.details.push_back("the daemon ended with " + std::to_string(code) + " after SIGTERM");
  }
  v.mismatches += board.damaged.load();
  for (std::uint32_t i = 0; i < std::min(board.finding_count.load(), chaos::kFindings); ++i)
    v.details.emplace_back(board.findings[i]);

  const bool clean =
      v.lost == 0 && board.doubled.load() == 0 && v.quarantined == 0 && v.mismatches == 0;
  for (const std::string& d : v.details) std::fprintf(out, "FOUND: %s\n", d.c_str());
  if (!clean) {
    std::fprintf(out, "the daemon's log of these sessions, and of its starts:\n%s\n",
                 daemon.log_lines(words_of(v.details)).c_str());
    std::fprintf(out, "the end of the daemon's log:\n%s\nrun it again with --seed %llu\n",
                 log.c_str(), ull{options.seed});
  }
  print_table(out, options, driver, why_no_boot_ids);
  int code = clean ? kExitOk : kExitNotConserved;
  if (!driver.all_done()) {
    std::fprintf(out, "ended before all was done\n");
    if (clean) code = kExitRefused;
  }
  const std::string json = to_json(options, board, driver, v, why_no_boot_ids);
  if (!options.json_path.empty()) {
    std::ofstream file(options.json_path, std::ios::binary);
    file << json;
    file.close();
    if (!file) {
      std::fprintf(stderr, "arena-load: cannot write %s\n", options.json_path.c_str());
      if (clean) code = kExitRefused;
    }
  }
  if (options.chaos.json) {
    std::fputs(json.c_str(), stdout);
    return code;
  }
  const char* space = "";
  for (const auto& [name, count] : counts_of(board, driver, v)) {
    std::printf("%s%s=%llu", space, name.c_str(), ull{count});
    space = " ";
  }
  std::printf("\n");
  return code;
}

}  // namespace arenad::load
