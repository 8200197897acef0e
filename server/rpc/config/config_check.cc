#include "server/rpc/config/config_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/algorithm/string.hpp>
#include <vector>

#include "allocator/base/tunables.h"
#include "allocator/format/numa_policy.h"
#include "server/core/api/text.h"
#include "server/core/control/tunable_registry.h"
#include "server/rpc/config/config_keys.h"
#include "server/rpc/config/values.h"

namespace arenad::server {
namespace {

struct ArenaOptionRow {
  const char* name;
  bool Config::ArenaAtStart::*value;
};
constexpr ArenaOptionRow kArenaOptions[] = {
    {"pinned", &Config::ArenaAtStart::pinned},
    {"lock", &Config::ArenaAtStart::lock},
    {"zero", &Config::ArenaAtStart::zero},
    {"scrub", &Config::ArenaAtStart::scrub},
    {"huge_pages", &Config::ArenaAtStart::huge_pages},
};

constexpr std::string_view kNumaOption = "numa=";

constexpr std::array<std::string_view, 5> kLogLevels = {"trace", "debug", "info", "warn", "error"};

// Turns texts into values. The first wrong value is the one that is reported.
class Checker {
 public:
  explicit Checker(const ConfigSource& values) : values_(values) {}

  Result<Config, Failure> config() {
    Config config;
    check_texts();
    read_directories(config);
    read_addresses(config);
    config.shards = static_cast<std::uint32_t>(number("shards"));
    config.log_level = text("log_level");
    if (std::find(kLogLevels.begin(), kLogLevels.end(), config.log_level) == kLogLevels.end())
      wrong("log_level");
    config.guards_private = flag("guards_private");
    read_administrators(config);
    read_limits(config);
    read_arenas(config);
    read_tunables(config);
    if (failure_.error != Error::kNone) return failure_;
    return config;
  }

 private:
  std::string text(const std::string& name) const {
    const auto found = values_.find(name);
    return found == values_.end() ? find_key(name)->default_text : found->second.texts.front();
  }
  std::string origin(const std::string& name) const {
    const auto found = values_.find(name);
    return found == values_.end() ? "default of " + name : found->second.origin;
  }

  void report(std::string message) {
    if (failure_.error == Error::kNone) failure_ = {Error::kInvalidOption, std::move(message)};
  }
  void fail(const std::string& name, const std::string& what) {
    report(fmt::format("{}: '{}' {}", origin(name), text(name), what));
  }
  void wrong(const std::string& name) {
    fail(name, fmt::format("is not what '{}' takes: {}", name, find_key(name)->help));
  }

  // --print-config writes a TOML file, and logs and answers are UTF-8, too.
  void check_texts() {
    for (const auto& [name, value] : values_)
      for (const std::string& text : value.texts)
        if (!is_utf8(text)) report(fmt::format("{}: '{}' takes UTF-8 text", value.origin, name));
  }

  // The value of a key of kNumber or kSize, within the key's bounds.
  std::uint64_t number(const std::string& name) {
    const ConfigKey& key = *find_key(name);
    const auto value =
        key.kind == ConfigKey::Kind::kSize ? parse_size(text(name)) : parse_number(text(name));
    if (value && *value >= key.min && *value <= key.max) return *value;
    wrong(name);
    return key.min;
  }
  bool flag(const std::string& name) {
    const auto value = parse_switch(text(name));
    if (!value) fail(name, "is not true or false");
    return value.value_or(false);
  }
  std::optional<HostPort> address(const std::string& name) {
    const std::string value = text(name);
    if (value.empty() || value == "off") return std::nullopt;
    auto parsed = parse_host_port(value);
    if (!parsed) wrong(name);
    return parsed;
  }

  void read_directories(Config& config) {
    config.socket_dir = text("socket_dir");
    if (config.socket_dir.empty()) wrong("socket_dir");
    config.state_dir = text("state_dir");
    config.data_dir = text("data_dir");
    if (!config.data_dir.empty() && config.state_dir.empty())
      fail("data_dir", "needs state_dir, too");
  }

  void read_addresses(Config& config) {
    config.listen = address("listen");
    config.listen_plaintext = address("listen_plaintext");
    if (config.listen_plaintext && !is_loopback(config.listen_plaintext->host))
      fail("listen_plaintext",
           "is an address that other hosts reach: anybody on the network could use the arenas. "
           "Give a loopback address, or use 'listen' with TLS");
    read_tls(config);
    read_http(config);
  }

  void read_tls(Config& config) {
    config.tls = {text("tls_cert"), text("tls_key"), text("tls_client_ca")};
    if (config.listen && (config.tls.certificate.empty() || config.tls.key.empty()))
      fail("listen",
           "needs tls_cert and tls_key: TCP is served with TLS, or on loopback with "
           "listen_plaintext");
    const auto users = values_.find("tls_user");
    if (users == values_.end() || users->second.texts.empty()) return;
    if (config.tls.client_ca.empty())
      report(users->second.origin + ": tls_user needs tls_client_ca");
    for (const std::string& item : users->second.texts)
      if (!config.tls_users.add(item))
        report(fmt::format("{}: '{}' is not NAME:USER with a user of this system or a number",
                           users->second.origin, item));
  }

  void read_http(Config& config) {
    constexpr std::string_view kUnix = "unix:";
    config.http_by_default = !values_.contains("http");
    config.metrics_name_arenas = flag("metrics_name_arenas");
    if (const auto names = values_.find("http_host"); names != values_.end())
      config.http_hosts = names->second.texts;
    const bool anywhere = flag("http_anywhere");
    if (const std::string value = text("http"); value.starts_with(kUnix)) {
      config.http_path = value.substr(kUnix.size());
      if (!config.http_path.starts_with('/')) wrong("http");
      return;
    }
    config.http = address("http");
    if (config.http && !is_loopback(config.http->host) && !anywhere)
      fail("http",
           "is an address that other hosts reach: anybody on the network could read /metrics. "
           "Give a loopback address or unix:/path, or set http_anywhere if you mean it");
  }

  void read_administrators(Config& config) {
    config.root_is_admin = flag("root_is_admin");
    const std::string group = text("admin_group");
    if (group.empty()) return;
    config.admin_gid = parse_group(group);
    if (!config.admin_gid)
      fail("admin_group", "is no group of this system: make it with groupadd, or give its number");
  }

  void read_limits(Config& config) {
    for (const LimitRow& row : kLimitTable) row.set(config.limits, number(row.name));
  }

  void read_arenas(Config& config) {
    const auto found = values_.find("arena");
    if (found == values_.end()) return;
    for (const std::string& item : found->second.texts) {
      if (auto arena = arena_of(item))
        config.arenas.push_back(std::move(*arena));
      else
        report(fmt::format(
            "{}: '{}' is not NAME:CAPACITY[:MODE[:GROUP[:OPTIONS]]], for example pool:1GiB, "
            "pool:1GiB:0660:video or pool:1GiB:::pinned+lock; a name has 1 to 64 characters of "
            "A-Z a-z 0-9 . _ -, a mode is octal, a group exists on this system, options are "
            "pinned, lock, zero, scrub, huge_pages, numa=interleave, numa=NODE and debug= with "
            "some of the letters F, Z, P and U; lock needs pinned, and P goes neither with zero "
            "nor with scrub",
            found->second.origin, item));
    }
  }

  static std::optional<Config::ArenaAtStart> arena_of(const std::string& item) {
    std::vector<std::string> parts;
    boost::split(parts, item, boost::is_any_of(":"));
    if (parts.size() < 2 || parts.size() > 5) return std::nullopt;
    // With options the mode and the group may be empty.
    const bool has_options = parts.size() == 5;
    Config::ArenaAtStart arena;
    arena.name = parts[0];
    arena.capacity_bytes = parse_size(parts[1]).value_or(0);
    if (!valid_name(arena.name) || arena.capacity_bytes == 0) return std::nullopt;
    if (parts.size() > 2 && !(has_options && parts[2].empty())) {
      const auto mode = parse_mode(parts[2]);
      if (!mode) return std::nullopt;
      arena.mode = *mode;
    }
    if (parts.size() > 3 && !(has_options && parts[3].empty())) {
      arena.gid = parse_group(parts[3]);
      if (!arena.gid) return std::nullopt;
    }
    if (has_options && !read_options(parts[4], arena)) return std::nullopt;
    return arena;
  }

  static bool read_options(const std::string& text, Config::ArenaAtStart& arena) {
    std::vector<std::string> names;
    boost::split(names, text, boost::is_any_of("+"));
    constexpr std::string_view kDebug = "debug=";
    for (const std::string& name : names) {
      if (name.starts_with(kNumaOption)) {
        arena.numa = name.substr(kNumaOption.size());
        if (arena.numa.empty() || !NumaPolicy::parse(arena.numa)) return false;
        continue;
      }
      if (name.starts_with(kDebug) && !arena.debug.any()) {
        const auto flags = parse_debug(std::string_view(name).substr(kDebug.size()));
        if (!flags || !flags->any()) return false;
        arena.debug = *flags;
        continue;
      }
      const auto* const row = std::ranges::find(kArenaOptions, name, &ArenaOptionRow::name);
      if (row == std::end(kArenaOptions)) return false;
      arena.*row->value = true;
    }
    return (arena.pinned || !arena.lock) && !(arena.debug.poison && (arena.zero || arena.scrub));
  }

  void read_tunables(Config& config) {
    for (const TunableRow& row : kTunableTable) {
      const std::string name = row.name;
      if (!values_.contains(name)) continue;
      // The kill switch wins over every source. A value that asks for the opposite does not stop
      // the start.
      if (row.allocator_switch == &Tunables::p0_enable && tunables().p0_disable) continue;
      // The server's tunables are tried on a scratch copy. The allocator's are process-wide, and
      // the start sets them anyway.
      ServerTunables scratch;
      if (const auto set = TunableRegistry(scratch).set({{name, text(name)}}); !set.ok())
        report(origin(name) + ": " + set.error().message);
      else
        config.tunables.emplace_back(name, text(name));
    }
  }

  const ConfigSource& values_;
  Failure failure_;
};

}  // namespace

Result<Config, Failure> check_config(const ConfigSource& values) {
  return Checker(values).config();
}

}  // namespace arenad::server
