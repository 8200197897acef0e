// The keys of the configuration: names, defaults, bounds and help texts.
//
// Purpose: one list drives the file, the variables, the flags, --help and --print-config. Limits
// and tunables come from their own tables (server/core/api/limits.h and tunables.h).
// Threads: pure values. Crash: nothing is shared.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace arenad::server {

struct ConfigKey {
  enum class Kind { kText, kNumber, kSize, kSwitch, kList, kTunable };

  std::string name;  // as in the file
  Kind kind = Kind::kText;
  std::string default_text;
  std::string help;       // one line, with unit and bounds
  std::uint64_t min = 0;  // of kNumber and kSize
  std::uint64_t max = ~std::uint64_t{0};
  std::string item;  // of kList: the form of one item

  std::string flag() const;      // "--idle-drain-ms"
  std::string variable() const;  // "ARENAD_IDLE_DRAIN_MS"
};

// The daemon's own keys, then the limits, then the tunables.
const std::vector<ConfigKey>& config_keys();
const ConfigKey* find_key(std::string_view name);

// " (did you mean 'shards'?)" when one of `known` is near, else the empty text.
std::string nearest(std::string_view name, const std::vector<std::string>& known);

}  // namespace arenad::server
