// The subcommands of arenactl.
//
// Purpose: each add_* function adds its subcommands to the command line. The subcommand that the
// user named leaves its action in Invocation. main connects to the daemon and runs the action.
// Invariants: an action prints its whole answer to stdout, or it gives a Status and prints nothing.
// Threads: one. Crash: a command is one call, and the daemon does a call whole or not at all.
//
// Read this file first, then arena_commands.cc. show.h prints, to_json.h converts.
#pragma once

#include <functional>
#include <string>

#include "arenad/arenad.h"

namespace CLI {
class App;
}

namespace arenad::ctl {

// Exit codes, as --help lists them.
inline constexpr int kExitOk = 0;
inline constexpr int kExitRefused = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitNotExact = 3;

struct Invocation {
  std::string socket;  // empty: $ARENAD_SOCKET, else /run/arenad
  bool json = false;
  std::uint32_t timeout_ms = 10'000;
  // What the user asked for. The value is the exit code.
  std::function<client::Answer<int>(const client::Client&)> action;
};

void add_arena_commands(CLI::App& app, Invocation& invocation);  // arena create/list/get/delete
void add_admin_commands(CLI::App& app, Invocation& invocation);  // all others

}  // namespace arenad::ctl
