// The text of --print-config.
//
// Threads: pure functions. Crash: nothing is shared.
#pragma once

#include <string>

#include "server/rpc/config/config_sources.h"

namespace arenad::server {

// A TOML file that says the same as `values` and the defaults. A comment behind each value says
// where the value comes from and what the key means.
std::string to_toml(const ConfigSource& values);

}  // namespace arenad::server
