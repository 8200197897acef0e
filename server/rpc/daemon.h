// Daemon: the whole of arenad, from a checked Config to the exit.
//
// Purpose: puts the engine, the shard loops, HTTP and signals together. They start in this order:
// lock of the socket directory, engine, shard loops, arenas of the configuration, HTTP, ready. The
// first SIGTERM or SIGINT makes the daemon not ready, and it drains and stops. A second signal ends
// the daemon at once. SIGHUP reads the configuration again (reload.h). SIGUSR1 and SIGUSR2 do
// nothing.
// Invariants: once the daemon is ready (HTTP, health, sd_notify), every address serves and every
// arena of the configuration exists.
// Threads: the main thread calls run_daemon, which runs the io_context of signals and HTTP.
// Crash: sockets and the lock file stay behind, and the next daemon replaces them.
#pragma once

#include "server/rpc/config/config.h"
#include "server/rpc/reload.h"

namespace arenad::server {

// Serves until a signal stops the daemon. `load` reads the configuration again. The result is the
// exit code of the process: 0 stopped as asked, 1 could not start.
int run_daemon(const Config& config, LoadConfig load);

}  // namespace arenad::server
