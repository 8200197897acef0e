// Config: what arenad was told, from all places where it can be told.
//
// Purpose: flags > ARENAD_* variables > TOML file (--config) > defaults, merged key by key; every
// value checked, an unknown
//   name refused with the nearest known one. One key has one name: `idle_drain_ms` in the file is
//   --idle-drain-ms and ARENAD_IDLE_DRAIN_MS.
// Invariants: a Config has been checked; what it holds can be started with.
// Threads: pure values; the environment is read by load_config alone. Crash: nothing is shared.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "allocator/base/error.h"
#include "server/core/api/limits.h"

namespace arenad::server {

struct Config {
  struct ArenaAtStart {
    std::string name;
    std::uint64_t capacity_bytes = 0;
  };
  std::string socket_dir;
  std::string state_dir;         // empty: none
  std::string data_dir;          // empty: the state directory
  std::uint32_t shards = 0;      // 0: one for each cpu this process may use
  std::string listen;            // host:port; empty: Unix sockets alone
  bool insecure_tcp = false;     // listen may be an address that other hosts reach
  std::string http;              // host:port; empty: no HTTP
  bool http_by_default = false;  // nobody asked for it: a busy port is no error
  std::string log_level;         // trace, debug, info, warn, error
  Limits limits;
  std::vector<ArenaAtStart> arenas;
  std::vector<std::pair<std::string, std::string>> tunables;  // those that were set

  // What to print for --print-config: a TOML file that says the same, with where each value comes
  // from.
  std::string as_toml;
};

// What the command line asks for.
struct Invocation {
  enum class Action { kServe, kPrint, kCheck, kExit } action = Action::kServe;
  int exit_code = 0;  // kExit: --help, --version, or a wrong command line, whose text was printed
  Config config;
};

// Reads all sources. `environment` is NAME=value lines, as environ. Errors: kInvalidOption; the
// message names the source, the key and what it takes.
Result<Invocation, Failure> load_config(int argc, const char* const* argv,
                                        const char* const* environment);

// host:port, [v6]:port. False when it is neither.
bool split_host_port(const std::string& text, std::string& host, std::uint16_t& port);

// An address that no other host reaches.
bool is_loopback(const std::string& host);

}  // namespace arenad::server
