// from_environment: variables.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <sstream>
#include <string_view>
#include <utility>

#include "server/rpc/config/config_keys.h"
#include "server/rpc/config/config_sources.h"

namespace arenad::server {
namespace {

constexpr std::string_view kPrefix = "ARENAD_";
// Variables of that prefix that are no keys: clients find the daemon by the first, load_config
// reads the second.
constexpr std::string_view kNotKeys[] = {"ARENAD_SOCKET", "ARENAD_CONFIG"};

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

}  // namespace

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
        std::find(std::begin(kNotKeys), std::end(kNotKeys), name) != std::end(kNotKeys))
      continue;
    const auto& keys = config_keys();
    const auto key = std::find_if(keys.begin(), keys.end(), [variable = name](const ConfigKey& k) {
      return k.variable() == variable;
    });
    if (key == keys.end()) {
      return Failure{
          Error::kInvalidOption,
          fmt::format(
              "environment: there is no variable {}{}: unset it, or see --help for the names", name,
              nearest(name, known))};
    }
    source[key->name] = {
        key->kind == ConfigKey::Kind::kList ? split_list(value) : std::vector<std::string>{value},
        "variable " + name};
  }
  return source;
}

}  // namespace arenad::server
