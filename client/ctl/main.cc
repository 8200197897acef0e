// arenactl: shows and steers an arenad daemon. client/ctl/commands.h says how commands work.
#include <CLI/CLI.hpp>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "arenad/version.h"
#include "client/ctl/commands.h"

namespace {

using namespace arenad;
using namespace arenad::ctl;

int refuse(const client::Status& status, bool as_json) {
  if (as_json) {
    const char* reason = status.reason == Error::kNone ? "" : error_name(status.reason);
    const nlohmann::json error{
        {"code", client::code_name(status.code)}, {"reason", reason}, {"message", status.message}};
    std::cerr << nlohmann::json{{"error", error}}.dump(2) << '\n';
  } else {
    std::cerr << "arenactl: " << status.text() << '\n';
  }
  return kExitRefused;
}

}  // namespace

int main(int argc, char** argv) {
  // This poller has the lowest latency on Unix sockets. gRPC reads the variable when it starts. A
  // choice of the user stays.
  ::setenv("GRPC_POLL_STRATEGY", "poll", 0);

  Invocation invocation;
  std::string output = "table";
  CLI::App app{"Shows and steers an arenad daemon."};
  app.footer(
      "Exit codes: 0 ok; 1 the daemon refused or does not answer (message and reason on stderr); "
      "2 usage; 3 an audit was not exact.\n"
      "Tables show sizes in powers of 1024. -o json has exact numbers, in bytes and milliseconds.");
  app.set_version_flag("--version", std::string("arenactl ") + arenad::kVersion);
  app.require_subcommand(1);
  app.fallthrough();  // -o and --socket may also follow the subcommand
  app.add_option("-s,--socket,--socket-dir", invocation.socket,
                 "The daemon's socket directory, a socket file, or a gRPC target (127.0.0.1:7470); "
                 "default /run/arenad")
      ->envname("ARENAD_SOCKET");
  app.add_option("-o,--output", output, "Form of the answer, table or json; default table")
      ->check(CLI::IsMember({"table", "json"}));
  app.add_option("--timeout-ms", invocation.timeout_ms,
                 "Longest wait for each call, milliseconds, 1..3600000; default 10000")
      ->check(CLI::Range(1, 3'600'000));
  add_arena_commands(app, invocation);
  add_admin_commands(app, invocation);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  invocation.json = output == "json";

  const auto connected = client::Client::connect(
      invocation.socket, {.call_timeout_ms = invocation.timeout_ms, .administrate = true});
  if (!connected) return refuse(connected.error(), invocation.json);
  const auto done = invocation.action(*connected);
  if (!done) return refuse(done.error(), invocation.json);
  std::cout.flush();
  if (!std::cout) {
    std::cerr << "arenactl: cannot write the answer to stdout\n";
    return kExitRefused;
  }
  return *done;
}
