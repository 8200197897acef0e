#include "server/rpc/config/config_print.h"

#include <fmt/format.h>

#include "allocator/base/tunables.h"
#include "server/rpc/config/config_keys.h"
#include "server/rpc/config/values.h"

namespace arenad::server {
namespace {

std::string toml_string(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\u{:04x}", byte);
    } else {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
  }
  return out + "\"";
}

std::string toml_list(const std::vector<std::string>& items) {
  std::string out = "[";
  for (const std::string& item : items) out += (out.size() == 1 ? "" : ", ") + toml_string(item);
  return out + "]";
}

std::string toml_scalar(const ConfigKey& key, const std::string& text) {
  const bool plain = key.kind == ConfigKey::Kind::kNumber || key.kind == ConfigKey::Kind::kTunable;
  if (plain && parse_number(text)) return text;
  if (key.kind == ConfigKey::Kind::kSwitch)
    return parse_switch(text).value_or(false) ? "true" : "false";
  return toml_string(text);
}

std::string toml_value(const ConfigKey& key, const ConfigValue* value) {
  if (key.kind == ConfigKey::Kind::kList)
    return toml_list(value == nullptr ? std::vector<std::string>{} : value->texts);
  // The kill switch wins over every source.
  if (key.name == "p0_enable" && tunables().p0_disable) return "0";
  return toml_scalar(key, value == nullptr ? key.default_text : value->texts.front());
}

}  // namespace

std::map<std::string, std::string> toml_values(const ConfigSource& values) {
  std::map<std::string, std::string> texts;
  for (const ConfigKey& key : config_keys()) {
    const auto found = values.find(key.name);
    texts[key.name] = toml_value(key, found == values.end() ? nullptr : &found->second);
  }
  return texts;
}

std::string to_toml(const ConfigSource& values) {
  std::string out =
      "# The configuration of arenad. Behind each value: its source and its meaning.\n";
  for (const ConfigKey& key : config_keys()) {
    const auto found = values.find(key.name);
    const ConfigValue* const value = found == values.end() ? nullptr : &found->second;
    out += fmt::format("{} = {}  # {}; {}\n", key.name, toml_value(key, value),
                       value == nullptr ? "default" : value->origin, key.help);
  }
  return out;
}

}  // namespace arenad::server
