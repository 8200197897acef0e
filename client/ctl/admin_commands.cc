#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "client/ctl/commands.h"
#include "client/ctl/show.h"

namespace arenad::ctl {
namespace {

using client::Admin;
using client::Answer;
using client::Client;

// Adds a subcommand that makes one call and shows its answer.
template <class Call, class Show>
CLI::App* add(CLI::App& app, const char* name, const char* help, Invocation& invocation, Call call,
              Show show_answer) {
  auto* command = app.add_subcommand(name, help);
  command->callback([command, &invocation, call, show_answer] {
    if (!command->get_subcommands().empty()) return;  // the subcommand is what is asked for
    invocation.action = [&invocation, call, show_answer](const Client& client) -> Answer<int> {
      const auto answer = call(client);
      if (!answer) return answer.error();
      return show_answer(*answer, invocation.json);
    };
  });
  return command;
}

std::shared_ptr<std::string> new_text() { return std::make_shared<std::string>(); }

void add_tune(CLI::App& app, Invocation& invocation) {
  auto* tune =
      app.add_subcommand("tune", "Show and change what can be changed while the daemon runs");
  tune->require_subcommand(1);
  auto names = std::make_shared<std::vector<std::string>>();
  auto* get = add(
      *tune, "get", "Show all tunables, or those named", invocation,
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
                "there is no tunable " + name + ": `arenactl tune get` lists all"};
          wanted.push_back(*found);
        }
        return wanted;
      },
      show_tunables);
  get->add_option("name", *names, "Names of tunables; default: all");

  auto settings = std::make_shared<std::vector<std::pair<std::string, std::string>>>();
  auto* set = add(
      *tune, "set",
      "Change tunables while the daemon runs: all that are named, or none. Shows all tunables",
      invocation,
      [settings](const Client& client) { return Admin(client).set_tunables(*settings); },
      show_tunables);
  set->add_option_function<std::vector<std::string>>(
         "setting",
         [settings](const std::vector<std::string>& words) {
           for (const std::string& word : words) {
             const auto equals = word.find('=');
             if (equals == std::string::npos || equals == 0)
               throw CLI::ValidationError("setting", "this is not NAME=VALUE: " + word);
             settings->emplace_back(word.substr(0, equals), word.substr(equals + 1));
           }
         },
         "NAME=VALUE ...")
      ->required();
}

void add_blocks(CLI::App& app, Invocation& invocation) {
  struct Args {
    std::string arena;
    std::vector<client::Ref> refs;
  };
  auto args = std::make_shared<Args>();
  auto* blocks = add(
      app, "blocks",
      "Show blocks by their refs, as the log names them: state, holder, tag, and with debug flag U "
      "who allocated and who freed them last",
      invocation,
      [args](const Client& client) -> Answer<std::vector<client::BlockInfo>> {
        auto session = client::Session::open(client, {.name = "arenactl"});
        if (!session) return session.error();
        const auto arena = session->attach(args->arena, client::AttachMode::kReader);
        if (!arena) return arena.error();
        return arena->describe(args->refs);
      },
      show_blocks);
  blocks->add_option("arena", args->arena, "Name of the arena")->required();
  blocks
      ->add_option_function<std::vector<std::uint64_t>>(
          "ref",
          [args](const std::vector<std::uint64_t>& refs) {
            for (const std::uint64_t ref : refs) args->refs.push_back({ref});
          },
          "Refs, for example 0x0040000100000012")
      ->required();
}

}  // namespace

void add_admin_commands(CLI::App& app, Invocation& invocation) {
  auto arena = new_text();
  add(
      app, "slabinfo", "Show slabs by arena, shard and size class, as /proc/slabinfo does",
      invocation, [arena](const Client& c) { return Admin(c).slab_info(*arena); }, show_slabinfo)
      ->add_option("arena", *arena, "Name of an arena; default: all");

  auto held = new_text();
  auto limit = std::make_shared<std::uint32_t>(100);
  auto* holders = add(
      app, "holders", "Show who holds what in an arena, by session and tag, largest first",
      invocation, [held, limit](const Client& c) { return Admin(c).holders(*held, *limit); },
      show_holders);
  holders->add_option("arena", *held, "Name of the arena")->required();
  holders->add_option("--limit", *limit, "Rows to show, 1..1000000; default 100")
      ->check(CLI::Range(1, 1'000'000));

  add_blocks(app, invocation);

  auto* sessions = add(
      app, "sessions", "Show all sessions: what they are attached to, hold and lease", invocation,
      [](const Client& c) { return Admin(c).sessions(); }, show_sessions);
  auto evicted = std::make_shared<std::uint16_t>(0);
  add(
      *sessions, "evict",
      "End a session although its process lives, and take back all that it held. Its calls answer "
      "EVICTED from then on. For administrators",
      invocation, [evicted](const Client& c) { return Admin(c).evict(SessionId{*evicted}); },
      show_given_back)
      ->add_option("id", *evicted, "Id of the session, as `arenactl sessions` shows it")
      ->required();

  struct Limit {
    std::uint16_t session = 0;
    std::uint64_t bytes = 0;
  };
  auto limited = std::make_shared<Limit>();
  auto* limit_session = add(
      *sessions, "limit",
      "Change what a session may hold or lease. A session above its new limit keeps what it has, "
      "and gets nothing before it is below. For administrators",
      invocation,
      [limited](const Client& c) {
        return Admin(c).limit_session(SessionId{limited->session}, limited->bytes);
      },
      show_session_limit);
  limit_session
      ->add_option("id", limited->session, "Id of the session, as `arenactl sessions` shows it")
      ->required();
  limit_session
      ->add_option("bytes", limited->bytes,
                   "For example 64MiB; 0, or more than the daemon's limit: the daemon's limit")
      ->required()
      ->transform(CLI::AsSizeValue(false));

  auto trimmed = new_text();
  add(
      app, "trim",
      "Give memory that nobody uses back to the system: of peers, shards and the arenas "
      "themselves. For administrators",
      invocation, [trimmed](const Client& c) { return Admin(c).trim(*trimmed); }, show_trim)
      ->add_option("arena", *trimmed, "Name of an arena; default: all");

  auto audited = new_text();
  add(
      app, "audit",
      "Compare three counts of each slab: counters, block words, and the owner's own state. All "
      "shards stand still meanwhile. Exit code 3 when a count differs",
      invocation, [audited](const Client& c) { return Admin(c).audit(*audited); }, show_audit)
      ->add_option("arena", *audited, "Name of an arena; default: all");

  add_tune(app, invocation);

  auto counted = new_text();
  add(
      app, "stats", "Show counters of each shard, and remote frees of each pair of shards",
      invocation, [counted](const Client& c) { return Admin(c).stats(*counted); }, show_stats)
      ->add_option("arena", *counted, "Name of an arena; default: the sum of all arenas");

  add(
      app, "topology", "Show the daemon's version, sockets and shards", invocation,
      [](const Client& c) { return Answer<client::Topology>(c.topology()); }, show_topology);

  auto* health = app.add_subcommand("health", "Ask whether the daemon serves; exit code 0 or 1");
  health->callback([&invocation] {
    invocation.action = [&invocation](const Client& client) -> Answer<int> {
      if (const auto status = client.health(); !status.ok()) return status;
      return show_health(invocation.json);
    };
  });
}

}  // namespace arenad::ctl
