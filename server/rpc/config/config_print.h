// The text of --print-config.
//
// Threads: pure functions. Crash: nothing is shared.
#pragma once

#include <map>
#include <string>

#include "server/rpc/config/config_sources.h"

namespace arenad::server {

// A TOML file that says the same as `values` and the defaults. A comment behind each value says
// where the value comes from and what the key means.
std::string to_toml(const ConfigSource& values);

// Each key and its value, as to_toml writes them.
std::map<std::string, std::string> toml_values(const ConfigSource& values);

}  // namespace arenad::server
