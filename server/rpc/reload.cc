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

}  // namespace

void reload(const Config& running, const LoadConfig& load, ControlApi& control) {
  const auto fresh = load();
  if (!fresh.ok()) {
    spdlog::error("SIGHUP: nothing is changed, the configuration is wrong: {}",
                  fresh.error().message);
    return;
  }
  spdlog::set_level(spdlog::level::from_str(fresh->log_level));
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
