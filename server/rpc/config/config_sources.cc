#include "server/rpc/config/config_sources.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string_view>

#include "server/core/api/text.h"
#include "server/rpc/config/config_keys.h"
#include "server/rpc/version.h"

// Header only: no shared library is needed at run time.
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

namespace arenad::server {
namespace {

constexpr int kWrongUsage = 2;
constexpr std::string_view kPrefix = "ARENAD_";
// Variables of that prefix that are not the daemon's: the clients' way to find it.
constexpr std::string_view kNotOurs[] = {"ARENAD_SOCKET", "ARENAD_CONFIG"};

struct PredecessorVariable {
  std::string_view name;
  const char* key;
};
constexpr PredecessorVariable kPredecessor[] = {{"HAKMEM_TINY_P0_ENABLE", "p0_enable"},
                                                {"HAKMEM_TINY_P0_NO_DRAIN", "p0_no_drain"},
                                                {"HAKMEM_TINY_P0_LOG", "p0_log"}};

std::vector<std::string> split_list(const std::string& text) {
  std::vector<std::string> items;
  std::istringstream stream(text);
  for (std::string item; std::getline(stream, item, ',');)
    if (!item.empty()) items.push_back(item);
  return items;
}

// One scalar of a TOML file as the text a flag would carry.
std::optional<std::string> scalar_text(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return std::to_string(number->get());
  if (const auto* flag = node.as_boolean()) return flag->get() ? "true" : "false";
  return std::nullopt;
}

}  // namespace

CommandLine from_flags(int argc, const char* const* argv) {
  CommandLine line;
  CLI::App app{"arenad: shared-memory arenas for the processes and containers of one host."};
  app.footer(
      "Each option is also a key of the TOML file (idle_drain_ms) and a variable "
      "(ARENAD_IDLE_DRAIN_MS).\n"
      "Flags win over variables, variables over the file. Sizes: bytes, or with KiB, MiB, GiB, "
      "TiB.\n"
      "Exit codes: 0 stopped as asked, 1 could not start or run, 2 wrong configuration.");
  app.set_version_flag("--version", "arenad " + std::string(kVersion));
  app.add_option("--config", line.config_file, "TOML file to read; also ARENAD_CONFIG")
      ->type_name("FILE");
  app.add_flag("--print-config", line.print_config,
               "print the configuration that results, as TOML, and exit");
  app.add_flag("--check-config", line.check_config, "check the configuration and exit");

  std::map<std::string, std::string> single;
  std::map<std::string, std::vector<std::string>> lists;
  for (const ConfigKey& key : config_keys()) {
    const std::string help =
        key.help + (key.default_text.empty() ? "" : " [" + key.default_text + "]");
    const char* const group = key.kind == ConfigKey::Kind::kTunable
                                  ? "Tunables (SetTunables changes them live)"
                                  : "Options";
    switch (key.kind) {
      case ConfigKey::Kind::kSwitch:
        app.add_flag(key.flag() + "{true}", single[key.name], help)->group(group);
        break;
      case ConfigKey::Kind::kList:
        app.add_option(key.flag(), lists[key.name], help)
            ->group(group)
            ->allow_extra_args(false)
            ->type_name("NAME:CAPACITY");
        break;
      default:
        app.add_option(key.flag(), single[key.name], help)
            ->group(group)
            ->type_name(key.kind == ConfigKey::Kind::kBytes  ? "SIZE"
                        : key.kind == ConfigKey::Kind::kText ? "TEXT"
                                                             : "N");
    }
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    line.exit = true;
    if (e.get_exit_code() == 0) {
      app.exit(e);  // prints what --help and --version ask for
      return line;
    }
    std::cerr << "arenad: " << e.what();
    std::vector<std::string> known = {"--config", "--print-config", "--check-config", "--help",
                                      "--version"};
    for (const ConfigKey& key : config_keys()) known.push_back(key.flag());
    for (int i = 1; i < argc; ++i) {
      const std::string word = std::string(argv[i]).substr(0, std::string_view(argv[i]).find('='));
      if (word.starts_with("--") && std::find(known.begin(), known.end(), word) == known.end())
        std::cerr << nearest(word, known);
    }
    std::cerr << "\narenad: see --help\n";
    line.exit_code = kWrongUsage;
    return line;
  }
  for (const ConfigKey& key : config_keys()) {
    if (app.get_option(key.flag())->count() == 0) continue;
    const bool list = key.kind == ConfigKey::Kind::kList;
    line.values[key.name] = {list ? lists[key.name] : std::vector<std::string>{single[key.name]},
                             "flag " + key.flag()};
  }
  return line;
}

Result<ConfigSource, Failure> from_environment(const char* const* environment) {
  ConfigSource source;
  std::vector<std::string> known;
  for (const ConfigKey& key : config_keys()) known.push_back(key.variable());
  const auto split = [](std::string_view entry) {
    const std::size_t equals = entry.find('=');
    return std::pair(
        std::string(entry.substr(0, equals)),
        equals == std::string_view::npos ? std::string() : std::string(entry.substr(equals + 1)));
  };
  for (const char* const* entry = environment; *entry != nullptr; ++entry) {
    const auto [name, value] = split(*entry);
    for (const PredecessorVariable& variable : kPredecessor)
      if (name == variable.name)
        source.try_emplace(variable.key,
                           ConfigValue{{value == "0" ? "0" : "1"}, "variable " + name});
  }
  for (const char* const* entry = environment; *entry != nullptr; ++entry) {
    const auto [name, value] = split(*entry);
    if (!name.starts_with(kPrefix) ||
        std::find(std::begin(kNotOurs), std::end(kNotOurs), name) != std::end(kNotOurs))
      continue;
    const auto& keys = config_keys();
    const auto key = std::find_if(keys.begin(), keys.end(),
                                  [&](const ConfigKey& k) { return k.variable() == name; });
    if (key == keys.end()) {
      return Failure{Error::kInvalidOption,
                     concat("environment: there is no variable ", name, nearest(name, known),
                            ": unset it, or see --help for the names")};
    }
    source[key->name] = {
        key->kind == ConfigKey::Kind::kList ? split_list(value) : std::vector<std::string>{value},
        "variable " + name};
  }
  return source;
}

Result<ConfigSource, Failure> from_file(const std::string& path) {
  std::ifstream stream(path);
  std::ostringstream text;
  if (!stream || !(text << stream.rdbuf())) {
    return Failure{Error::kInvalidOption, concat("cannot read the configuration file ", path,
                                                 ": give one that exists and may be read")};
  }
  const toml::parse_result parsed = toml::parse(text.str(), path);
  if (!parsed) {
    return Failure{Error::kInvalidOption,
                   concat(path, " line ", parsed.error().source().begin.line, ": ",
                          parsed.error().description(), ": this is not TOML")};
  }
  ConfigSource source;
  std::vector<std::string> known;
  for (const ConfigKey& key : config_keys()) known.push_back(key.name);
  for (const auto& [toml_key, node] : parsed.table()) {
    const std::string name(toml_key.str());
    const std::string origin = concat(path, " line ", node.source().begin.line);
    const ConfigKey* const key = find_key(name);
    if (key == nullptr) {
      return Failure{Error::kInvalidOption,
                     concat(origin, ": there is no key '", name, "'", nearest(name, known),
                            ": see --print-config for all keys")};
    }
    ConfigValue value{{}, origin};
    bool good = true;
    if (const auto* items = node.as_array();
        items != nullptr && key->kind == ConfigKey::Kind::kList) {
      for (const toml::node& item : *items) {
        const auto scalar = scalar_text(item);
        good = good && scalar.has_value();
        if (scalar) value.texts.push_back(*scalar);
      }
    } else {
      const auto scalar = scalar_text(node);
      good = scalar.has_value();
      if (scalar) value.texts.push_back(*scalar);
    }
    if (!good)
      return Failure{Error::kInvalidOption, concat(origin, ": '", name, "' takes ", key->help)};
    source[name] = std::move(value);
  }
  return source;
}

}  // namespace arenad::server
