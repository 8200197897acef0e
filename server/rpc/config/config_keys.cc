#include "server/rpc/config/config_keys.h"

#include <algorithm>
#include <cctype>
#include <numeric>

#include "server/core/api/limits.h"
#include "server/core/api/tunables.h"

namespace arenad::server {
namespace {

// As the configuration takes sizes: "4TiB", "0".
std::string size_text(std::uint64_t bytes) {
  constexpr const char* kUnits[] = {"", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  for (; bytes != 0 && bytes % 1024 == 0 && unit + 1 < std::size(kUnits); ++unit) bytes /= 1024;
  return std::to_string(bytes) + kUnits[unit];
}

std::vector<ConfigKey> make_keys() {
  using Kind = ConfigKey::Kind;
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
  };
  for (const LimitRow& row : kLimitTable) {
    const bool bytes = std::string_view(row.unit) == "bytes";
    const auto text = [bytes](std::uint64_t value) {
      return bytes ? size_text(value) : std::to_string(value);
    };
    std::string help = row.help;
    if (bytes) help += ", bytes";
    if (row.max != kNoBound) help += ", " + text(row.min) + ".." + text(row.max);
    keys.push_back({row.name, bytes ? Kind::kBytes : Kind::kNumber, text(row.default_value), help});
  }
  for (const TunableRow& row : kTunableTable)
    keys.push_back(
        {row.name, Kind::kTunable, std::to_string(row.default_value), row.description()});
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
