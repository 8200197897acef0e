#include "server/rpc/reload.h"

#include <spdlog/spdlog.h>

#include <string>

#include "server/core/api/tunables.h"

namespace arenad::server {
namespace {

bool is_tunable(const std::string& key) {
  for (const TunableRow& row : kTunableTable)
    if (key == row.name) return true;
  return false;
}

// The keys that another value waits for, with a comma after each but the last.
std::string waiting_for_a_start(const Config& running, const Config& fresh) {
  std::string keys;
  for (const auto& [key, value] : fresh.values) {
    if (key == "log_level" || is_tunable(key) || running.values.at(key) == value) continue;
    keys += (keys.empty() ? "" : ", ") + key;
  }
  return keys;
}

// gRPC reads the files by itself (tls_credentials.h), and keeps the old ones when new ones are bad.
void say_whether_tls_is_good(const TlsFiles& files) {
  if (const std::string wrong = wrong_with(files); wrong.empty())
    spdlog::info(
        "SIGHUP: new connections over TLS get what is in the files of tls_cert, tls_key "
        "and tls_client_ca");
  else
    spdlog::error("SIGHUP: TLS goes on with the files that it had: {}", wrong);
}

}  // namespace

void reload(const Config& running, const LoadConfig& load, ControlApi& control) {
  const auto fresh = load();
  if (!fresh.ok()) {
    spdlog::error("SIGHUP: nothing is changed, the configuration is wrong: {}",
                  fresh.error().message);
    return;
  }
  spdlog::set_level(spdlog::level::from_str(fresh->log_level));
  if (running.listen) say_whether_tls_is_good(running.tls);
  if (const std::string keys = waiting_for_a_start(running, *fresh); !keys.empty())
    spdlog::warn("SIGHUP: these keys have changed, and count from the next start: {}", keys);
  control.set_tunables(daemon_itself(), fresh->tunables, [](const auto& set) {
    if (set.ok())
      spdlog::info("SIGHUP: log level and tunables are those of the configuration");
    else
      spdlog::error("SIGHUP: no tunable is changed: {}", set.error().message);
  });
}

}  // namespace arenad::server
