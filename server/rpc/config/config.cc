#include "server/rpc/config/config.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>

#include "allocator/base/tunables.h"
#include "server/core/api/text.h"
#include "server/core/control/engine.h"
#include "server/core/control/tunable_registry.h"
#include "server/core/shard/shared_state.h"
#include "server/rpc/config/config_keys.h"
#include "server/rpc/config/config_sources.h"

namespace arenad::server {
namespace {

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// "1073741824", "1GiB", "1G".
std::optional<std::uint64_t> parse_bytes(std::string_view text) {
  struct Unit {
    std::string_view name;
    int shift;
  };
  static constexpr Unit kUnits[] = {{"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40},
                                    {"K", 10},   {"M", 20},   {"G", 30},   {"T", 40}};
  int shift = 0;
  for (const Unit& unit : kUnits) {
    if (!text.ends_with(unit.name)) continue;
    text.remove_suffix(unit.name.size());
    shift = unit.shift;
    break;
  }
  const auto value = parse_number(text);
  if (!value || *value > std::numeric_limits<std::uint64_t>::max() >> shift) return std::nullopt;
  return *value << shift;
}

// Turns merged texts into a Config; the first value that is wrong ends it.
class Checker {
 public:
  explicit Checker(const ConfigSource& values) : values_(values) {}

  Result<Config, Failure> config() {
    Config config;
    config.socket_dir = text("socket_dir");
    config.state_dir = text("state_dir");
    config.data_dir = text("data_dir");
    if (!config.data_dir.empty() && config.state_dir.empty())
      fail("data_dir", "needs state_dir, too");
    config.shards = static_cast<std::uint32_t>(number("shards", 0, kMaxShards));
    config.listen = address("listen");
    config.insecure_tcp = flag("insecure_tcp");
    config.http = address("http");
    config.http_by_default = !values_.contains("http");
    config.log_level = text("log_level");
    read_limits(config);
    read_arenas(config);
    read_tunables(config);
    if (config.socket_dir.empty()) wrong("socket_dir");
    static constexpr std::array<std::string_view, 5> kLevels = {"trace", "debug", "info", "warn",
                                                                "error"};
    if (std::find(kLevels.begin(), kLevels.end(), config.log_level) == kLevels.end())
      wrong("log_level");
    std::string host;
    std::uint16_t port = 0;
    if (!config.listen.empty() && split_host_port(config.listen, host, port) &&
        !is_loopback(host) && !config.insecure_tcp) {
      fail("listen",
           "is an address that other hosts reach, and there is no TLS: anybody on the network "
           "could use the "
           "arenas. Give a loopback address, or set insecure_tcp if that is meant");
    }
    if (failure_.error != Error::kNone) return failure_;
    return config;
  }

 private:
  const ConfigKey& key(std::string_view name) const { return *find_key(name); }
  std::string text(const std::string& name) const {
    const auto found = values_.find(name);
    return found == values_.end() ? key(name).default_text : found->second.texts.front();
  }
  std::string origin(const std::string& name) const {
    const auto found = values_.find(name);
    return found == values_.end() ? "default of " + name : found->second.origin;
  }
  void fail(const std::string& name, const std::string& what) {
    if (failure_.error == Error::kNone)
      failure_ = {Error::kInvalidOption, concat(origin(name), ": '", text(name), "' ", what)};
  }
  void wrong(const std::string& name) {
    fail(name, "is not what '" + name + "' takes: " + key(name).help);
  }

  std::uint64_t number(const std::string& name, std::uint64_t min, std::uint64_t max) {
    const auto value = parse_number(text(name));
    if (!value || *value < min || *value > max) wrong(name);
    return value.value_or(0);
  }
  std::uint64_t bytes(const std::string& name) {
    const auto value = parse_bytes(text(name));
    if (!value) wrong(name);
    return value.value_or(0);
  }
  bool flag(const std::string& name) {
    const std::string value = text(name);
    if (value == "true" || value == "1" || value == "on") return true;
    if (value != "false" && value != "0" && value != "off") fail(name, "is not true or false");
    return false;
  }
  std::string address(const std::string& name) {
    std::string host, value = text(name);
    std::uint16_t port = 0;
    if (value == "off") return "";
    if (!value.empty() && !split_host_port(value, host, port)) wrong(name);
    return value;
  }

  void read_arenas(Config& config) {
    const auto found = values_.find("arena");
    if (found == values_.end()) return;
    for (const std::string& item : found->second.texts) {
      const std::size_t colon = item.find(':');
      const std::string name = item.substr(0, colon);
      // A missing capacity reads as one of 0 bytes.
      const std::uint64_t capacity =
          colon == std::string::npos
              ? 0
              : parse_bytes(std::string_view(item).substr(colon + 1)).value_or(0);
      if (!valid_name(name) || capacity == 0) {
        if (failure_.error == Error::kNone)
          failure_ = {Error::kInvalidOption,
                      concat(found->second.origin, ": '", item,
                             "' is not NAME:CAPACITY, e.g. pool:1GiB; "
                             "a name has 1 to 64 characters of A-Z a-z 0-9 . _ -")};
        continue;
      }
      config.arenas.push_back({name, capacity});
    }
  }

  void read_limits(Config& config) {
    for (const LimitRow& row : kLimitTable) {
      const bool in_bytes = key(row.name).kind == ConfigKey::Kind::kBytes;
      const std::uint64_t value = in_bytes ? bytes(row.name) : number(row.name, row.min, row.max);
      if (value < row.min || value > row.max)
        wrong(row.name);
      else
        row.set(config.limits, value);
    }
  }

  void read_tunables(Config& config) {
    for (const ConfigKey& key : config_keys()) {
      if (key.kind != ConfigKey::Kind::kTunable || !values_.contains(key.name)) continue;
      // The kill switch wins over every source; a value that asks for the opposite is no reason not
      // to start.
      if (key.name == "p0_enable" && tunables().p0_disable) continue;
      // Tried on a scratch copy of the server's; the allocator's own are process-wide, and are to
      // be set anyway.
      ServerTunables scratch;
      if (const auto set = TunableRegistry(scratch).set({{key.name, text(key.name)}}); !set.ok()) {
        if (failure_.error == Error::kNone)
          failure_ = {Error::kInvalidOption, origin(key.name) + ": " + set.error().message};
        continue;
      }
      config.tunables.emplace_back(key.name, text(key.name));
    }
  }

  const ConfigSource& values_;
  Failure failure_;
};

std::string toml_string(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < 0x20)
      out += concat("\\u00", static_cast<char>('0' + (c >> 4)), "0123456789abcdef"[c & 15]);
    else
      out += c;
  }
  return out + "\"";
}

std::string toml_value(const ConfigKey& key, const std::string& text) {
  const bool plain = key.kind == ConfigKey::Kind::kNumber || key.kind == ConfigKey::Kind::kTunable;
  if (plain && parse_number(text)) return text;
  if (key.kind == ConfigKey::Kind::kSwitch)
    return text == "true" || text == "1" || text == "on" ? "true" : "false";
  return toml_string(text);
}

std::string to_toml(const ConfigSource& values) {
  std::string out =
      "# arenad's configuration as it results. After each value: where it comes from, and what it "
      "is.\n";
  for (const ConfigKey& key : config_keys()) {
    const auto found = values.find(key.name);
    std::string value;
    if (key.kind == ConfigKey::Kind::kList) {
      value = "[";
      if (found != values.end())
        for (const std::string& item : found->second.texts)
          value += (value.size() == 1 ? "" : ", ") + toml_string(item);
      value += "]";
    } else {
      std::string text = found == values.end() ? key.default_text : found->second.texts.front();
      if (key.name == "p0_enable" && tunables().p0_disable) text.assign(1, '0');
      value = toml_value(key, text);
    }
    out += concat(key.name, " = ", value, "  # ",
                  found == values.end() ? "default" : found->second.origin, "; ", key.help, "\n");
  }
  return out;
}

}  // namespace

bool split_host_port(const std::string& text, std::string& host, std::uint16_t& port) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos) return false;
  host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']'))
    host = host.substr(1, host.size() - 2);
  else if (host.find(':') != std::string::npos)
    return false;
  const auto number = parse_number(std::string_view(text).substr(colon + 1));
  if (host.empty() || !number || *number > 65535) return false;
  port = static_cast<std::uint16_t>(*number);
  return true;
}

bool is_loopback(const std::string& host) {
  if (host == "localhost" || host == "::1") return true;
  in_addr v4;
  return ::inet_pton(AF_INET, host.c_str(), &v4) == 1 && (ntohl(v4.s_addr) >> 24) == 127;
}

Result<Invocation, Failure> load_config(int argc, const char* const* argv,
                                        const char* const* environment) {
  Invocation invocation;
  const CommandLine line = from_flags(argc, argv);
  if (line.exit) {
    invocation.action = Invocation::Action::kExit;
    invocation.exit_code = line.exit_code;
    return invocation;
  }
  std::string file = line.config_file;
  constexpr std::string_view kFileVariable = "ARENAD_CONFIG=";
  for (const char* const* entry = environment; file.empty() && *entry != nullptr; ++entry)
    if (const std::string_view text = *entry; text.starts_with(kFileVariable))
      file = text.substr(kFileVariable.size());
  // What is wrong on the command line is said before what is wrong elsewhere: it is what the caller
  // just typed.
  if (auto flags = Checker(line.values).config(); !flags.ok()) return flags.error();
  ConfigSource merged = line.values;  // merge() keeps what is there: the strongest source first
  auto from_variables = from_environment(environment);
  if (!from_variables.ok()) return from_variables.error();
  merged.merge(*from_variables);
  if (!file.empty()) {
    auto from_its_file = from_file(file);
    if (!from_its_file.ok()) return from_its_file.error();
    merged.merge(*from_its_file);
  }
  auto config = Checker(merged).config();
  if (!config.ok()) return config.error();
  invocation.config = std::move(*config);
  invocation.config.as_toml = to_toml(merged);
  if (line.print_config)
    invocation.action = Invocation::Action::kPrint;
  else if (line.check_config)
    invocation.action = Invocation::Action::kCheck;
  return invocation;
}

}  // namespace arenad::server
