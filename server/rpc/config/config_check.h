// From texts by key to a checked Config.
//
// Threads: pure functions. Crash: nothing is shared.
#pragma once

#include "server/rpc/config/config.h"
#include "server/rpc/config/config_sources.h"

namespace arenad::server {

// The Config that these texts and the defaults make. Config::as_toml stays empty. Errors:
// kInvalidOption; the message names the source, the key and what the key takes.
Result<Config, Failure> check_config(const ConfigSource& values);

}  // namespace arenad::server
