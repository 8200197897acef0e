#include <unistd.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "client/ctl/commands.h"
#include "client/ctl/show.h"

namespace arenad::ctl {
namespace {

using client::Answer;
using client::Client;

// Reads "0660" into `mode`. The result is what is wrong with the text; empty: nothing.
std::string parse_mode(const std::string& text, std::uint32_t& mode) {
  std::size_t used = 0;
  unsigned long value = 0;
  try {
    value = std::stoul(text, &used, 8);
  } catch (const std::exception&) {
    used = 0;
  }
  if (used != text.size() || text.empty() || value == 0 || value > 0777)
    return "not an octal mode between 0001 and 0777, for example 0660";
  mode = static_cast<std::uint32_t>(value);
  return {};
}

void add_create(CLI::App& arena, Invocation& invocation) {
  struct Args {
    std::string name;
    client::ArenaOptions options;
  };
  auto args = std::make_shared<Args>();
  args->options.access = {0, 0, 0660};  // 0: the caller's
  auto* create = arena.add_subcommand("create", "Create an arena and show it");
  create->add_option("name", args->name, "1 to 64 characters of A-Z a-z 0-9 . _ -")->required();
  create
      ->add_option("-c,--capacity", args->options.capacity_bytes,
                   "Bytes, or a number with a unit: 64M, 64MiB and 64MB all are 64 * 1024 * 1024. "
                   "arenad rounds up to 2 MiB, and commits memory as it is used, unless --pinned")
      ->required()
      ->transform(CLI::AsSizeValue(false));
  create->add_flag(
      "--holder-only", args->options.holder_only,
      "Only the holder may free a block; another session must take the block over first");
  auto* pinned =
      create->add_flag("--pinned", args->options.pinned,
                       "Commit all memory now and never give it back, so that a block's pages stay "
                       "the same: for io_uring buffers, RDMA and cudaHostRegister. Takes some 0.5 "
                       "s for each GiB; --timeout-ms must allow it");
  create
      ->add_flag("--lock", args->options.lock,
                 "Lock the memory (mlock), so that it is never swapped out; needs --pinned and "
                 "admin.sock, and arenad's RLIMIT_MEMLOCK must allow it")
      ->needs(pinned);
  create->add_flag("--zero", args->options.zero,
                   "Every block that is handed out reads as zeros; whoever allocates pays for it");
  create->add_flag("--scrub", args->options.scrub,
                   "Overwrite a block's bytes when it was freed, or when its session has ended, "
                   "before another session can get it");
  create->add_flag(
      "--huge-pages", args->options.huge_pages,
      "Commit memory in huge pages of 2 MiB where the kernel makes some, else in small "
      "ones; 'arena get' says what came of it");
  create->add_option("--numa", args->options.numa,
                     "Where the memory is to lie: interleave (on all NUMA nodes in turn), or the "
                     "number of a node; default: where the kernel takes it");
  create->add_option(
      "--debug", args->options.debug,
      "Look for mistakes, some of the letters FZPU: F checks slabs and words at each "
      "call; Z finds writes outside of a block; P finds writes to freed blocks (not "
      "with --zero or --scrub); U remembers who allocated and freed each block. What "
      "is found is a line of the log");
  auto* uid =
      create->add_option("--uid", args->options.access.uid,
                         "Owner, a number; default: your user; another owner needs admin.sock");
  auto* gid =
      create->add_option("--gid", args->options.access.gid, "Group, a number; default: your group");
  auto* mode = create->add_option_function<std::string>(
      "--mode",
      [args](const std::string& text) {
        if (const std::string wrong = parse_mode(text, args->options.access.mode); !wrong.empty())
          throw CLI::ValidationError("--mode", wrong);
      },
      "Who may attach, in octal as for a file: r allows reader; w allows writer, peer and remote; "
      "default: 0660, the owner and the group");
  create->callback([args, uid, gid, mode, &invocation] {
    args->options.set_access = uid->count() + gid->count() + mode->count() > 0;
    invocation.action = [args, &invocation](const Client& client) -> Answer<int> {
      const auto made = client.create_arena(args->name, args->options);
      if (!made) return made.error();
      return show_arena(*made, invocation.json);
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
      "delete", "Delete an arena; its memory goes back to the system when its last mapping ends");
  remove->add_option("name", args->name, "Arena")->required();
  remove->add_flag(
      "-f,--force", args->force,
      "End the attachments of all sessions first; without this, an arena in use is not deleted");
  remove->callback([args, &invocation] {
    invocation.action = [args, &invocation](const Client& client) -> Answer<int> {
      if (const auto status = client.delete_arena(args->name, args->force); !status.ok())
        return status;
      return show_deleted(args->name, invocation.json);
    };
  });
}

}  // namespace

void add_arena_commands(CLI::App& app, Invocation& invocation) {
  auto* arena = app.add_subcommand("arena", "Create, show and delete arenas");
  arena->require_subcommand(1);
  add_create(*arena, invocation);

  auto* list = arena->add_subcommand("list", "Show all arenas, in order of name");
  list->callback([&invocation] {
    invocation.action = [&invocation](const Client& client) -> Answer<int> {
      const auto arenas = client.list_arenas();
      if (!arenas) return arenas.error();
      return show_arenas(*arenas, invocation.json);
    };
  });

  auto name = std::make_shared<std::string>();
  auto* get = arena->add_subcommand("get", "Show one arena");
  get->add_option("name", *name, "Arena")->required();
  get->callback([name, &invocation] {
    invocation.action = [name, &invocation](const Client& client) -> Answer<int> {
      const auto found = client.get_arena(*name);
      if (!found) return found.error();
      return show_arena(*found, invocation.json);
    };
  });

  add_delete(*arena, invocation);
}

}  // namespace arenad::ctl
