// Config: what arenad was told, from all places where it can be told.
//
// Purpose: merges flags, ARENAD_* variables, the TOML file and defaults, key by key, the strongest
// source first. One key has one name: `idle_drain_ms` in the file is --idle-drain-ms and
// ARENAD_IDLE_DRAIN_MS. Every value is checked. An unknown name is refused with the nearest known
// name.
// Invariants: a Config has been checked. A daemon can start with it.
// Threads: plain values. Only load_config reads the environment. Crash: nothing is shared.
//
// Read config_keys.h first: it lists the keys. config_sources.h reads the sources, config_check.h
// checks the values, config_print.h writes --print-config.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "allocator/base/error.h"
#include "allocator/format/debug_flags.h"
#include "server/core/api/limits.h"
#include "server/rpc/config/values.h"
#include "server/rpc/tls/tls_credentials.h"
#include "server/rpc/tls/tls_users.h"

namespace arenad::server {

struct Config {
  struct ArenaAtStart {
    std::string name;
    std::uint64_t capacity_bytes = 0;
    std::uint32_t mode = 0660;
    std::optional<std::uint32_t> gid;  // none: the daemon's group
    bool pinned = false;
    bool lock = false;
    bool zero = false;
    bool scrub = false;
    bool huge_pages = false;
    std::string numa;  // NumaPolicy::parse
    DebugFlags debug;
  };
  std::string socket_dir;
  std::string state_dir;                     // empty: none
  std::string data_dir;                      // empty: the state directory
  std::uint32_t shards = 0;                  // 0: default_shards
  std::optional<HostPort> listen;            // gRPC over TLS; none: no TLS
  std::optional<HostPort> listen_plaintext;  // gRPC over TCP in plain text, on loopback; none: none
  TlsFiles tls;
  TlsUsers tls_users;
  std::optional<HostPort> http;         // none: no HTTP over TCP
  std::string http_path;                // Unix socket of HTTP; empty: none
  bool http_by_default = false;         // nobody asked for HTTP, so a busy port is only a warning
  std::vector<std::string> http_hosts;  // names that a Host header may have
  bool metrics_name_arenas = false;     // /metrics has samples of each arena
  bool root_is_admin = true;            // root is an administrator over every socket
  std::optional<std::uint32_t> admin_gid;  // group that may open admin.sock; none: only its owner
  bool guards_private = false;             // the daemon checks its heaps, and aborts
  std::string log_level;                   // trace, debug, info, warn, error
  Limits limits;
  std::vector<ArenaAtStart> arenas;
  std::vector<std::pair<std::string, std::string>> tunables;  // only those that were set

  std::string as_toml;                        // the text of --print-config
  std::map<std::string, std::string> values;  // of all keys, as as_toml writes them
};

// What the command line asks for.
struct Invocation {
  enum class Action { kServe, kPrint, kCheck, kExit } action = Action::kServe;
  int exit_code = 0;  // of kExit: --help, --version, or a wrong command line
  Config config;
};

// Reads all sources. `environment` is NAME=value lines, as environ. Prints the texts of --help and
// --version, and of a wrong command line. Errors: kInvalidOption; the message names the source, the
// key and what the key takes.
Result<Invocation, Failure> load_config(int argc, const char* const* argv,
                                        const char* const* environment);

}  // namespace arenad::server
