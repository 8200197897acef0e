// from_file: the TOML file.
#include <fmt/format.h>

#include <fstream>
#include <optional>
#include <sstream>
#include <string_view>

#include "server/rpc/config/config_keys.h"
#include "server/rpc/config/config_sources.h"

// Header only: no shared library is needed at run time.
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
// toml++ asserts what a file may break ("[=" begins no key), and with NDEBUG the compiler takes it
// for granted. Behind each such place toml++ also has an error, so here the assertions do nothing.
#pragma push_macro("NDEBUG")
#undef NDEBUG
#define TOML_ASSERT(expr) static_assert(true)
#include <toml++/toml.h>
#pragma pop_macro("NDEBUG")

namespace arenad::server {
namespace {

// One scalar of a TOML file as the text a flag would carry.
std::optional<std::string> scalar_text(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return std::to_string(number->get());
  if (const auto* flag = node.as_boolean()) return flag->get() ? "true" : "false";
  return std::nullopt;
}

}  // namespace

Result<ConfigSource, Failure> from_file(const std::string& path) {
  std::ifstream stream(path);
  std::ostringstream text;
  stream.peek();
  // An empty file is a file. To copy nothing is an error for `<<`.
  if (!stream.is_open() || stream.bad() || (!stream.eof() && !(text << stream.rdbuf()))) {
    return Failure{Error::kInvalidOption, fmt::format("cannot read the configuration file {}: give "
                                                      "a file that exists and that arenad may read",
                                                      path)};
  }
  const toml::parse_result parsed = toml::parse(text.str(), path);
  if (!parsed) {
    return Failure{Error::kInvalidOption,
                   fmt::format("{} line {}: {}: this is not TOML", path,
                               parsed.error().source().begin.line, parsed.error().description())};
  }
  ConfigSource source;
  std::vector<std::string> known;
  for (const ConfigKey& key : config_keys()) known.push_back(key.name);
  for (const auto& [toml_key, node] : parsed.table()) {
    const std::string name(toml_key.str());
    const std::string origin = fmt::format("{} line {}", path, node.source().begin.line);
    const ConfigKey* const key = find_key(name);
    if (key == nullptr) {
      return Failure{Error::kInvalidOption,
                     fmt::format("{}: there is no key '{}'{}: see --print-config for all keys",
                                 origin, name, nearest(name, known))};
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
      return Failure{Error::kInvalidOption,
                     fmt::format("{}: '{}' takes {}", origin, name, key->help)};
    source[name] = std::move(value);
  }
  return source;
}

}  // namespace arenad::server
