// The keys of the configuration: names, defaults, texts.
//
// Threads: pure values. Crash: nothing is shared.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace arenad::server {

struct ConfigKey {
  enum class Kind { kText, kNumber, kBytes, kSwitch, kList, kTunable };
  std::string name;  // as in the file
  Kind kind = Kind::kText;
  std::string default_text;
  std::string help;              // with unit and range
  std::string flag() const;      // "--idle-drain-ms"
  std::string variable() const;  // "ARENAD_IDLE_DRAIN_MS"
};

// The daemon's own, then the tunables.
const std::vector<ConfigKey>& config_keys();
const ConfigKey* find_key(std::string_view name);

// " (did you mean 'shards'?)" when one of `known` is near, else the empty text.
std::string nearest(std::string_view name, const std::vector<std::string>& known);

}  // namespace arenad::server
