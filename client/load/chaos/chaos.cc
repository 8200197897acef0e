#include "client/load/chaos/chaos.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "client/load/chaos/board.h"
#include "client/load/chaos/daemon.h"
#include "client/load/chaos/driver.h"
#include "client/load/link.h"

namespace arenad::load {
namespace {

using chaos::Board;
using chaos::ChaosDaemon;
using chaos::Driver;
using ull = unsigned long long;

constexpr auto kHomeWithin =
    std::chrono::seconds(15);  // until the dead are reaped and all blocks are back

struct Verdict {
  std::uint64_t lost = 0;
  std::uint64_t mismatches = 0;
  std::vector<std::string> details;
  client::AuditReport audit;
};

// Opens a session that keeps a block, so that a test sees the audit find it.
class Leak {
 public:
  Leak(const std::string& sockets, const Options& options) {
    if (options.chaos.plant != "leak") return;
    client_ = or_throw(client::Client::connect(sockets), "connect");
    session_ = or_throw(client::Session::open(client_, {.name = "planted"}), "open a session");
    const auto arena =
        or_throw(session_.attach(options.arena, client::AttachMode::kWriter), "attach");
    or_throw(arena.allocate_many(256, 1), "allocate");
  }

 private:
  client::Client client_;
  client::Session session_;
};

// All sessions have ended. So a block that is out, or a leased run, belongs to nobody.
Verdict judge(const std::string& sockets, const std::string& arena) {
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
    auto audit = admin.audit(arena);
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

std::string to_json(const Options& options, const Board& board, const Driver& driver,
                    const Verdict& v) {
  return nlohmann::json{{"program", "arena-load"},
                        {"workload", "chaos"},
                        {"seed", options.seed},
                        {"peers", options.chaos.peers},
                        {"kills", driver.kills()},
                        {"daemon_kills", driver.daemon_kills()},
                        {"lost", v.lost},
                        {"doubled", board.doubled.load()},
                        {"mismatches", v.mismatches},
                        {"seconds", driver.seconds()},
                        {"operations", driver.operations()},
                        {"findings", v.details}}
             .dump(2) +
         "\n";
}

}  // namespace

int run_chaos(const Options& asked) {
  Options options = asked;
  options.arena = "chaos";
  std::printf("chaos: %u peers, %llu kills%s, seed %llu\n", options.chaos.peers,
              ull{options.chaos.kills}, options.chaos.kill_daemon ? ", of the daemon too" : "",
              ull{options.seed});
  std::fflush(stdout);
  Board& board = chaos::make_board();
  board.daemon_dies.store(options.chaos.kill_daemon ? 1 : 0);
  ChaosDaemon daemon(options.chaos.arenad, options.arena, options.capacity_bytes,
                     options.chaos.kill_daemon);
  Driver driver(options, board, daemon);
  driver.run();
  driver.settle();
  const Leak leak(daemon.sockets(), options);
  Verdict v = judge(daemon.sockets(), options.arena);
  const std::string log = daemon.log_tail();
  if (const int code = daemon.stop(); code != 0) {
    ++v.mismatches;
    v.details.push_back("the daemon ended with " + std::to_string(code) + " after SIGTERM");
  }
  v.mismatches += board.damaged.load();
  for (std::uint32_t i = 0; i < std::min(board.finding_count.load(), chaos::kFindings); ++i)
    v.details.emplace_back(board.findings[i]);

  const bool clean = v.lost == 0 && board.doubled.load() == 0 && v.mismatches == 0;
  for (const std::string& d : v.details) std::printf("FOUND: %s\n", d.c_str());
  if (!clean)
    std::printf("the end of the daemon's log:\n%s\nrun it again with --seed %llu\n", log.c_str(),
                ull{options.seed});
  std::printf("%.1f s, %llu operations\n", driver.seconds(), ull{driver.operations()});
  int code = clean ? kExitOk : kExitNotConserved;
  if (driver.kills() < options.chaos.kills) {
    std::printf("ended before all kills were done\n");
    if (clean) code = kExitRefused;
  }
  if (!options.json_path.empty()) {
    std::ofstream file(options.json_path, std::ios::binary);
    file << to_json(options, board, driver, v);
    file.close();
    if (!file) {
      std::fprintf(stderr, "arena-load: cannot write %s\n", options.json_path.c_str());
      if (clean) code = kExitRefused;
    }
  }
  std::printf("kills=%llu daemon_kills=%llu lost=%llu doubled=%llu mismatches=%llu\n",
              ull{driver.kills()}, ull{driver.daemon_kills()}, ull{v.lost},
              ull{board.doubled.load()}, ull{v.mismatches});
  return code;
}

}  // namespace arenad::load
