// Daemon: the whole of arenad, from a checked Config to exit.
//
// Purpose: puts the engine, the shard loops, HTTP and signals together, in this order of life:
// lock, engine, loops, arenas
//   of the config, HTTP, ready; then until SIGTERM or SIGINT; then not ready, drain, stop.
// Invariants: ready (HTTP, health, sd_notify) means that every address serves and every arena of
// the config exists. Threads: run() is the main thread's, which turns the io_context of signals and
// HTTP. Crash: sockets and the lock file stay behind and are replaced by the next daemon.
#pragma once

#include "server/rpc/config/config.h"

namespace arenad::server {

// Serves until it was told to stop. Returns the process's exit code: 0 stopped as asked, 1 could
// not start.
int run_daemon(const Config& config);

}  // namespace arenad::server
