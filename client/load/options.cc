#include "client/load/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <random>
#include <string>

#include "arenad/version.h"

namespace arenad::load {
namespace {

void add_common(CLI::App& sub, Options& o) {
  sub.add_option("--duration", o.duration_s, "Seconds of load; default 10")
      ->check(CLI::Range(0.1, 86400.0));
  sub.add_option("--warm-up", o.warm_up_s,
                 "Seconds of load before what is measured; default 4 for peers, else 0")
      ->check(CLI::Range(0.0, 60.0));
  sub.add_option("--capacity", o.capacity_bytes, "Of a temporary arena, e.g. 512MiB; default 1GiB")
      ->transform(CLI::AsSizeValue(false));
  sub.add_option("--seed", o.seed, "For everything random; default: a new one, printed");
  sub.add_option("--json", o.json_path, "Write results there (schema: client/load/README.md)");
  sub.add_option("--csv", o.csv_path, "Write one row a workload there");
  sub.add_option("--html", o.html_path, "Write a self-contained report with plots there");
  sub.add_flag("-q,--quiet", o.quiet, "No live line");
}

void add_daemon(CLI::App& sub, Options& o) {
  sub.add_option("-s,--socket,--socket-dir", o.socket,
                 "The daemon's socket directory, a socket file, or a gRPC target; default "
                 "$ARENAD_SOCKET, else /run/arenad");
  sub.add_option("--arena", o.arena,
                 "Use this arena (created when absent, and kept); default: a temporary one, "
                 "deleted afterwards");
  sub.add_option("--shards", o.shards,
                 "Shards that connections go to in turn, e.g. 0,1; default all")
      ->delimiter(',');
}

void add_sizes(CLI::App& sub, Options& o) {
  sub.add_option("--size", o.size_bytes, "Bytes of a block, e.g. 4KiB; default 256")
      ->transform(CLI::AsSizeValue(false));
  sub.add_option("--batch", o.batch, "Blocks a message; default 64")->check(CLI::Range(1, 16384));
}

void add_frames(CLI::App& app, Options& o) {
  CLI::App* frames = app.add_subcommand(
      "frames",
      "large blocks by peers: one process writes four in rotation, then a producer hands each to a "
      "consumer. There is no --mode");
  add_common(*frames, o);
  add_daemon(*frames, o);
  frames->add_option("--size", o.size_bytes, "Bytes of a frame, at least 16; default 4MiB")
      ->transform(CLI::AsSizeValue(false));
  frames->add_flag("--leave-block", o.leave_block)->group("");
  frames->callback([&o, frames] {
    o.workload = "frames";
    o.mode = Mode::kPeer;
    if (frames->count("--size") == 0) o.size_bytes = kFrameBytes;
    if (o.size_bytes < kLeastFrameBytes)
      throw CLI::ValidationError("--size", "a frame has at least 16 bytes");
  });
}

void add_chaos(CLI::App& app, Options& o) {
  CLI::App* chaos =
      app.add_subcommand("chaos",
                         "a daemon of its own, peers that hand blocks to one another, kills at "
                         "random moments: is everything home at the end?");
  chaos->add_option("--peers", o.chaos.peers, "Peer processes; default 8")
      ->check(CLI::Range(2, 64));
  for (const ChaosAction& action : kChaosActions) {
    std::string option = "--" + std::string(action.name);
    std::replace(option.begin(), option.end(), '_', '-');
    const bool is_kills = action.count == &ChaosCounts::kills;
    chaos->add_option(option, o.chaos.wanted.*action.count, action.help)
        ->check(CLI::Range(is_kills ? 1 : 0, 10'000'000));
  }
  chaos
      ->add_option("--most-stop-ms", o.chaos.most_stop_ms,
                   "The longest stop of the daemon; most are much shorter; default 6000")
      ->check(CLI::Range(1, 60'000));
  chaos->add_flag(
      "--kill-daemon", o.chaos.kill_daemon,
      "One kill in twenty is the daemon's, which is started again on its state directory");
  chaos
      ->add_option("--seconds", o.chaos.seconds,
                   "End after so long all the same, with exit code 1; default: no limit")
      ->check(CLI::Range(0.1, 86400.0));
  chaos->add_option("--arenad", o.chaos.arenad,
                    "The daemon's program; default: the arenad beside this program");
  chaos->add_option("--plant", o.chaos.plant)
      ->check(CLI::IsMember({"double", "damage", "leak"}))
      ->group("");
  chaos->add_option("--capacity", o.capacity_bytes, "Of the arena, e.g. 512MiB; default 1GiB")
      ->transform(CLI::AsSizeValue(false));
  chaos->add_option("--seed", o.seed, "For everything random; default: a new one, printed");
  chaos->add_option("--json", o.json_path,
                    "Write the result there (schema: client/load/README.md)");
  chaos
      ->add_option("-o,--output", o.chaos.json, "table or json: what goes to stdout; default table")
      ->transform(
          CLI::CheckedTransformer(std::map<std::string, bool>{{"table", false}, {"json", true}}));
  chaos->add_flag("-q,--quiet", o.quiet, "No live line");
  chaos->add_option("--board", o.chaos.board_fd)->group("");
  chaos->add_option("--seat", o.chaos.seat)->group("");
  chaos->add_option("--life", o.chaos.life)->group("");
  chaos->footer(
      "The last line of the table is kills=N daemon_kills=N stops=N deletes=N execs=N closes=N "
      "boot_ids=N lost=N doubled=N quarantined=N mismatches=N. The exit code is 0 only when the "
      "last four are 0 and all actions were done.");
  chaos->callback([&o, chaos] {
    o.workload = "chaos";
    if (o.chaos.kill_daemon) return;
    if (chaos->count("--boot-ids") != 0 && o.chaos.wanted.boot_ids != 0)
      throw CLI::ValidationError("--boot-ids", "needs --kill-daemon: the daemon starts only once");
    o.chaos.wanted.boot_ids = 0;
  });
}

}  // namespace

const char* mode_name(Mode mode) {
  switch (mode) {
    case Mode::kInProcess: return "inproc";
    case Mode::kUnary: return "unary";
    case Mode::kExchange: return "exchange";
    case Mode::kPeer: return "peer";
  }
  return "?";
}

int parse_options(int argc, char** argv, Options& o) {
  std::random_device entropy;
  o.seed = (std::uint64_t{entropy()} << 32 | entropy()) | 1;
  CLI::App app{
      "Loads an arenad daemon, or the allocator in this process, and checks that nothing was "
      "lost."};
  app.footer(
      "Prints a live line a second, a table of throughput and latencies, and the audit.\n"
      "Exit codes: 0 ok; 1 the daemon refused or does not answer; 2 usage; 3 something was lost, "
      "doubled or left held.");
  app.set_version_flag("--version", std::string("arena-load ") + arenad::kVersion);
  app.require_subcommand(1);
  const std::map<std::string, Mode> modes{{"inproc", Mode::kInProcess},
                                          {"unary", Mode::kUnary},
                                          {"exchange", Mode::kExchange},
                                          {"peer", Mode::kPeer}};
  const std::map<std::string, Mode> process_modes{{"exchange", Mode::kExchange},
                                                  {"peer", Mode::kPeer}};

  struct Row {
    const char* name;
    const char* what;
    bool both;  // in process as well
  };
  for (const Row& row :
       {Row{"pair", "allocate a message of blocks, free it at once", true},
        Row{"batch", "allocate 1000 blocks, free them last in, first out", true},
        Row{"churn", "10,000 live blocks of 16..1024 B a client; replace random ones", true},
        Row{"larson", "clients replace random blocks of sets that they pass on", true},
        Row{"handoff", "producer and consumer processes on different shards: every free is remote",
            false},
        Row{"xmalloc", "two processes on different shards: each frees the other's blocks",
            false}}) {
    CLI::App* sub = app.add_subcommand(row.name, row.what);
    add_common(*sub, o);
    add_daemon(*sub, o);
    add_sizes(*sub, o);
    if (row.both)
      sub->add_option("--mode", o.mode,
                      "inproc (allocator embedded here), unary (a call each), exchange (a stream) "
                      "or peer (heaps in this process); default exchange")
          ->transform(CLI::CheckedTransformer(modes, CLI::ignore_case));
    else
      sub->add_option("--mode", o.mode,
                      "exchange (a stream a process) or peer (a heap a process); default exchange")
          ->transform(CLI::CheckedTransformer(process_modes, CLI::ignore_case));
    if (row.both)
      sub->add_option("--clients,--threads", o.clients, "Threads, a session each; default 2")
          ->check(CLI::Range(1, 64));
    sub->add_flag("--leave-block", o.leave_block)->group("");
    sub->callback([&o, sub] { o.workload = sub->get_name(); });
  }
  CLI::App* rpc =
      app.add_subcommand("rpc",
                         "unary calls: allocate one block, free it; closed loop, or open loop with "
                         "--rate. A peer makes no calls: there is no --mode");
  add_common(*rpc, o);
  add_daemon(*rpc, o);
  rpc->add_option("--size", o.size_bytes, "Bytes of a block; default 256")
      ->transform(CLI::AsSizeValue(false));
  rpc->add_option("--clients,--threads", o.clients, "Connections, a thread each; default 2")
      ->check(CLI::Range(1, 64));
  rpc->add_option("--in-flight", o.in_flight, "Calls in flight a connection; default 32")
      ->check(CLI::Range(1, 4096));
  rpc->add_option(
         "--rate", o.rate,
         "Open loop: calls a second over all clients, late starts counted; default 0 = closed loop")
      ->check(CLI::Range(0.0, 1e7));
  rpc->callback([&o] { o.workload = "rpc"; });
  add_frames(app, o);
  CLI::App* suite = app.add_subcommand(
      "suite",
      "the main job: rpc, batch, handoff and xmalloc; the last three by peers too; frames; the "
      "audit");
  add_common(*suite, o);
  add_daemon(*suite, o);
  suite->callback([&o] { o.workload = "suite"; });
  add_chaos(app, o);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  if (o.size_bytes == 0 || o.capacity_bytes == 0) {
    std::fprintf(stderr, "arena-load: --size and --capacity want at least 1 byte\n");
    return kExitUsage;
  }
  return -1;
}

}  // namespace arenad::load
