// Reload: what SIGHUP does.
//
// Purpose: reads the configuration again, sets the log level and the tunables that it names, and
//   says which other keys have changed and wait for the next start.
// Invariants: a configuration that is wrong changes nothing. A tunable that the configuration does
//   not name keeps its value.
// Threads: that of the io_context. Crash: nothing is shared.
#pragma once

#include <functional>

#include "server/core/api/api.h"
#include "server/rpc/config/config.h"

namespace arenad::server {

// Reads all sources of the configuration again.
using LoadConfig = std::function<Result<Config, Failure>()>;

// `running`: what the daemon was started with.
void reload(const Config& running, const LoadConfig& load, ControlApi& control);

}  // namespace arenad::server
