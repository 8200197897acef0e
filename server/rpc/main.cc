// arenad: see daemon.h.
#include <grpc/grpc.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "server/rpc/config/config.h"
#include "server/rpc/daemon.h"
#include "server/rpc/grpc_log.h"

int main(int argc, char** argv) {
  using namespace arenad::server;
  const auto loaded = load_config(argc, argv, environ);
  if (!loaded.ok()) {
    std::fprintf(stderr, "arenad: %s\n", loaded.error().message.c_str());
    return 2;
  }
  const Invocation& invocation = *loaded;
  switch (invocation.action) {
    case Invocation::Action::kExit: return invocation.exit_code;
    case Invocation::Action::kPrint:
      std::fputs(invocation.config.as_toml.c_str(), stdout);
      return 0;
    case Invocation::Action::kCheck: std::puts("arenad: the configuration is good"); return 0;
    case Invocation::Action::kServe: break;
  }
  // With gRPC's default poller the thread of any shard may read the sockets of any shard. With this
  // poller each shard reads its own (server/README.md). gRPC reads the variable when it starts.
  ::setenv("GRPC_POLL_STRATEGY", "poll", 0);

  auto logger = spdlog::stderr_color_mt("arenad");
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e %^%l%$ %v");
  spdlog::set_default_logger(logger);
  spdlog::set_level(spdlog::level::from_str(invocation.config.log_level));
  spdlog::flush_on(spdlog::level::info);
  grpc_log_to_spdlog();
  return run_daemon(invocation.config, [argc, argv]() -> arenad::Result<Config, arenad::Failure> {
    auto again = load_config(argc, argv, environ);
    if (!again.ok()) return again.error();
    return std::move(again->config);
  });
}
