#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "client/ctl/commands.h"
#include "client/ctl/output.h"
#include "client/ctl/to_json.h"

namespace arenad::ctl {
namespace {

using client::Answer;
using client::ArenaInfo;
using client::Client;
using nlohmann::json;

void print_arenas(const std::vector<ArenaInfo>& arenas) {
  Table table({"NAME", ">ID", ">CAPACITY", ">COMMITTED", ">HELD", ">BLOCKS", ">SESSIONS", "UID:GID",
               "MODE", "OPTIONS"});
  for (const ArenaInfo& a : arenas) {
    std::string options;
    if (a.holder_only) options += "holder-only ";
    if (a.canary) options += "canary ";
    if (a.quarantined) options += "QUARANTINED: " + a.quarantine_reason;
    table.add({a.name, std::to_string(a.id), human_bytes(a.capacity_bytes),
               human_bytes(a.committed_bytes), human_bytes(a.held_bytes),
               std::to_string(a.held_blocks), std::to_string(a.sessions),
               std::to_string(a.access.uid) + ":" + std::to_string(a.access.gid),
               octal(a.access.mode), options});
  }
  table.print(std::cout);
}

void print_arena(const ArenaInfo& arena, bool as_json) {
  if (as_json)
    std::cout << to_json(arena).dump(2) << '\n';
  else
    print_arenas({arena});
}

// "0660" as a number; empty text means it is right.
std::string parse_mode(const std::string& text, std::uint32_t& mode) {
  std::size_t used = 0;
  unsigned long value = 0;
  try {
    value = std::stoul(text, &used, 8);
  } catch (const std::exception&) {
    used = 0;
  }
  if (used != text.size() || text.empty() || value == 0 || value > 0777)
    return "not an octal mode between 0001 and 0777, e.g. 0660";
  mode = static_cast<std::uint32_t>(value);
  return {};
}

void add_create(CLI::App& arena, Invocation& invocation) {
  struct Args {
    std::string name;
    client::ArenaOptions options;
  };
  auto args = std::make_shared<Args>();
  args->options.access = {::geteuid(), ::getegid(), 0660};
  auto* create = arena.add_subcommand("create", "Create an arena and show it");
  create->add_option("name", args->name, "[A-Za-z0-9._-], 1 to 64 characters")->required();
  create
      ->add_option("-c,--capacity", args->options.capacity_bytes,
                   "Bytes, or with a unit: 64M, 64MiB and 64MB are all 64 * 1024 * 1024. Rounded "
                   "up to 2 MiB; committed as it is used")
      ->required()
      ->transform(CLI::AsSizeValue(false));
  create->add_flag("--holder-only", args->options.holder_only,
                   "Only the holder may free a block; others take it over first");
  create->add_flag("--canary", args->options.canary,
                   "Guard bytes around each block, checked when it is freed (24 bytes a block)");
  auto* uid = create->add_option("--uid", args->options.access.uid,
                                 "Owner; default: yours, when --gid or --mode is given");
  auto* gid = create->add_option("--gid", args->options.access.gid,
                                 "Group; default: yours, when --uid or --mode is given");
  auto* mode = create->add_option_function<std::string>(
      "--mode",
      [args](const std::string& text) {
        if (const std::string wrong = parse_mode(text, args->options.access.mode); !wrong.empty())
          throw CLI::ValidationError("--mode", wrong);
      },
      "Who may attach, octal as of a file: r = reader, w = writer; default 0660 when --uid or "
      "--gid is given. "
      "With none of the three: the daemon's user and group, 0666");
  create->callback([args, uid, gid, mode, &invocation] {
    args->options.set_access = uid->count() + gid->count() + mode->count() > 0;
    invocation.action = [args, &invocation](const Client& client) -> Answer<int> {
      const auto made = client.create_arena(args->name, args->options);
      if (!made) return made.error();
      print_arena(*made, invocation.json);
      return kExitOk;
    };
  });
}

void add_delete(CLI::App& arena, Invocation& invocation) {
  struct Args {
    std::string name;
    bool force = false;
  };
  auto args = std::make_shared<Args>();
  auto* remove = arena.add_subcommand(
      "delete", "Delete an arena; its memory goes back when the last mapping of it ends");
  remove->add_option("name", args->name, "Arena")->required();
  remove->add_flag("-f,--force", args->force,
                   "Even when sessions are attached: end their attachments first");
  remove->callback([args, &invocation] {
    invocation.action = [args, &invocation](const Client& client) -> Answer<int> {
      if (const auto status = client.delete_arena(args->name, args->force); !status.ok())
        return status;
      if (invocation.json)
        std::cout << json{{"deleted", args->name}}.dump(2) << '\n';
      else
        std::cout << "deleted " << args->name << '\n';
      return kExitOk;
    };
  });
}

}  // namespace

void add_arena_commands(CLI::App& app, Invocation& invocation) {
  auto* arena = app.add_subcommand("arena", "Create, show and delete arenas");
  arena->require_subcommand(1);
  add_create(*arena, invocation);

  auto* list = arena->add_subcommand("list", "All arenas, in order of name");
  list->callback([&invocation] {
    invocation.action = [&invocation](const Client& client) -> Answer<int> {
      const auto arenas = client.list_arenas();
      if (!arenas) return arenas.error();
      if (invocation.json) {
        json all = json::array();
        for (const ArenaInfo& a : *arenas) all.push_back(to_json(a));
        std::cout << json{{"arenas", all}}.dump(2) << '\n';
      } else {
        print_arenas(*arenas);
      }
      return kExitOk;
    };
  });

  auto name = std::make_shared<std::string>();
  auto* get = arena->add_subcommand("get", "One arena");
  get->add_option("name", *name, "Arena")->required();
  get->callback([name, &invocation] {
    invocation.action = [name, &invocation](const Client& client) -> Answer<int> {
      const auto arena = client.get_arena(*name);
      if (!arena) return arena.error();
      print_arena(*arena, invocation.json);
      return kExitOk;
    };
  });

  add_delete(*arena, invocation);
}

}  // namespace arenad::ctl
