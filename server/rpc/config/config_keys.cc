#include "server/rpc/config/config_keys.h"

#include <algorithm>
#include <cctype>
#include <numeric>
#include <utility>

#include "server/core/api/limits.h"
#include "server/core/api/tunables.h"
#include "server/rpc/config/values.h"

namespace arenad::server {
namespace {

ConfigKey limit_key(const LimitRow& row) {
  const bool in_bytes = std::string_view(row.unit) == "bytes";
  const auto text = [in_bytes](std::uint64_t value) {
    return in_bytes ? size_text(value) : std::to_string(value);
  };
  std::string more = in_bytes ? "bytes" : "";
  if (row.max != kNoBound)
    more += (more.empty() ? "" : ", ") + text(row.min) + ".." + text(row.max);
  const std::string help = std::string(row.help) + " (" + more + ")";
  return {row.name,
          in_bytes ? ConfigKey::Kind::kSize : ConfigKey::Kind::kNumber,
          text(row.default_value),
          help,
          row.min,
          row.max,
          ""};
}

std::vector<ConfigKey> make_keys() {
  using Kind = ConfigKey::Kind;
  std::vector<ConfigKey> keys = {
      {"socket_dir", Kind::kText, "/run/arenad",
       "directory of the sockets; arenad makes it with mode 0755 when it does not exist"},
      {"state_dir", Kind::kText, "",
       "directory on tmpfs, mode 0700: arenas and sessions in it outlive the daemon; empty: "
       "nothing outlives the daemon"},
      {"data_dir", Kind::kText, "",
       "directory on hugetlbfs, mode 0700, for the payload of the arenas in state_dir; empty: "
       "state_dir"},
      {"shards", Kind::kNumber, "0",
       "shard threads, 0..256; 0: one for each core that affinity and cgroup allow", 0, kMaxShards},
      {"listen", Kind::kText, "off",
       "host:port on which to serve gRPC over TLS in addition to the Unix sockets, or off; needs "
       "tls_cert and tls_key"},
      {"tls_cert", Kind::kText, "", "PEM file of the certificate of 'listen', with its chain"},
      {"tls_key", Kind::kText, "", "PEM file of the key of tls_cert"},
      {"tls_client_ca", Kind::kText, "",
       "PEM file of the authorities that sign client certificates: who shows none of theirs gets "
       "no connection; empty: clients show no certificate, and are no users"},
      {"tls_user", Kind::kList, "",
       "NAME:USER: a client certificate with that name stands for that user (name or number); "
       "the names are DNS names, URIs and e-mail addresses of the certificate, and its CN",
       0, 0, "NAME:USER"},
      {"listen_plaintext", Kind::kText, "off",
       "loopback host:port on which to serve gRPC without TLS, or off: every user of this host can "
       "connect, and use arenas that are open to everybody"},
      {"http", Kind::kText, "127.0.0.1:7480",
       "host:port or unix:/path on which to serve /healthz, /readyz and /metrics, or off"},
      {"http_anywhere", Kind::kSwitch, "false",
       "allow 'http' to be an address that other hosts reach: anybody there may read /metrics"},
      {"http_host", Kind::kList, "",
       "names that the Host header of an HTTP request may have, besides localhost, 127.0.0.1, "
       "[::1] and the address to which the client has connected",
       0, 0, "NAME"},
      {"metrics_name_arenas", Kind::kSwitch, "false",
       "/metrics has samples of each arena with its name, and not only sums; a Unix socket of "
       "'http' then is for administrators, as admin.sock is"},
      {"root_is_admin", Kind::kSwitch, "true",
       "root of the daemon's user namespace is an administrator over every socket"},
      {"admin_group", Kind::kText, "",
       "group, by name or number, that may open admin.sock (mode 0660), where administration is "
       "possible; empty: only the daemon's user and root may (mode 0600)"},
      {"guards_private", Kind::kSwitch, "false",
       "check the heaps' private state, for triage: the daemon aborts when a check fails"},
      {"log_level", Kind::kText, "info", "trace, debug, info, warn or error"},
      {"arena", Kind::kList, "",
       "arenas to create at start, each NAME:CAPACITY[:MODE[:GROUP[:OPTIONS]]], for example "
       "pool:1GiB, pool:1GiB:0660:video or pool:1GiB:::pinned+lock; they belong to arenad's user, "
       "and to arenad's group if none is given; mode 0660 if none is given; options are pinned, "
       "lock, zero, scrub, huge_pages, numa=interleave, numa=NODE and debug=FZPU, as in 'arenactl "
       "arena create --help'",
       0, 0, "NAME:CAPACITY[:MODE[:GROUP[:OPTIONS]]]"},
  };
  for (const LimitRow& row : kLimitTable) keys.push_back(limit_key(row));
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
  std::size_t least = name.size() / 2 + 1;  // a name further away is no typing error
  for (const std::string& candidate : known) {
    if (const std::size_t distance = edit_distance(name, candidate); distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best.empty() ? std::string() : " (did you mean '" + std::string(best) + "'?)";
}

}  // namespace arenad::server
