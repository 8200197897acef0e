#include "server/rpc/config/config_keys.h"

#include <algorithm>
#include <cctype>
#include <numeric>

#include "server/core/api/limits.h"
#include "server/core/control/tunable_registry.h"
#include "server/core/shard/shared_state.h"

namespace arenad::server {
namespace {

std::vector<ConfigKey> make_keys() {
  using Kind = ConfigKey::Kind;
  const Limits limits;
  std::vector<ConfigKey> keys = {
      {"socket_dir", Kind::kText, "/run/arenad",
       "directory of the sockets; made with mode 0755 when it is not there"},
      {"state_dir", Kind::kText, "",
       "directory, mode 0700 and on tmpfs, of arenas and sessions that outlive the daemon; empty: "
       "they do not"},
      {"data_dir", Kind::kText, "",
       "directory, mode 0700, of those arenas' payload when it is to lie on hugetlbfs; empty: "
       "state_dir"},
      {"shards", Kind::kNumber, "0",
       "shard threads, 1..256; 0: one for each cpu that affinity and cgroup allow"},
      {"listen", Kind::kText, "off", "host:port to serve gRPC on beside the Unix sockets, or off"},
      {"insecure_tcp", Kind::kSwitch, "false",
       "let 'listen' be an address that other hosts reach, without TLS"},
      {"http", Kind::kText, "127.0.0.1:7480",
       "host:port of /healthz, /readyz and /metrics, or off"},
      {"log_level", Kind::kText, "info", "trace, debug, info, warn or error"},
      {"arena", Kind::kList, "", "arenas to create at start, each NAME:CAPACITY, e.g. pool:1GiB"},
      {"max_sessions", Kind::kNumber, std::to_string(limits.max_sessions),
       "sessions at a time, 1..65534"},
      {"max_arenas", Kind::kNumber, std::to_string(limits.max_arenas), "arenas at a time, 1..1023"},
      {"max_arena_bytes", Kind::kBytes, "4TiB", "capacity of one arena, bytes, up to 4TiB"},
      {"max_total_bytes", Kind::kBytes, "0",
       "sum of the capacities of all arenas, bytes; 0: no limit"},
      {"max_session_bytes", Kind::kBytes, "0", "what one session may hold, bytes; 0: no limit"},
  };
  ServerTunables tunables;
  for (const TunableFacts& facts : TunableRegistry(tunables).get()) {
    keys.push_back({facts.name, Kind::kTunable, facts.default_value, facts.description});
  }
  return keys;
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({change, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string ConfigKey::flag() const {
  std::string text = "--" + name;
  std::replace(text.begin(), text.end(), '_', '-');
  return text;
}

std::string ConfigKey::variable() const {
  std::string text = "ARENAD_";
  for (const char c : name) text += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

const std::vector<ConfigKey>& config_keys() {
  static const std::vector<ConfigKey> keys = make_keys();
  return keys;
}

const ConfigKey* find_key(std::string_view name) {
  for (const ConfigKey& key : config_keys())
    if (key.name == name) return &key;
  return nullptr;
}

std::string nearest(std::string_view name, const std::vector<std::string>& known) {
  std::string_view best;
  std::size_t least = name.size() / 2 + 1;  // further away than that it is no slip of the pen
  for (const std::string& candidate : known) {
    if (const std::size_t distance = edit_distance(name, candidate); distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best.empty() ? std::string() : " (did you mean '" + std::string(best) + "'?)";
}

}  // namespace arenad::server
