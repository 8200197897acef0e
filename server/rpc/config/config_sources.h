// Where configuration comes from: command line, environment, file. Each gives texts by key;
// config.cc merges and checks.
//
// Threads: pure functions, but from_file reads a file. Crash: nothing is shared.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "allocator/base/error.h"

namespace arenad::server {

struct ConfigValue {
  std::vector<std::string> texts;  // one; any number for a list
  std::string origin;  // "flag --shards", "variable ARENAD_SHARDS", "/etc/arenad.toml line 3"
};
using ConfigSource = std::map<std::string, ConfigValue>;  // by key

struct CommandLine {
  ConfigSource values;
  std::string config_file;
  bool print_config = false, check_config = false;
  bool exit = false;  // --help, --version or an error: the text was printed
  int exit_code = 0;
};

CommandLine from_flags(int argc, const char* const* argv);
// HAKMEM_TINY_P0_* stand for the tunables of their name, by their own rule: anything but 0 is on.
Result<ConfigSource, Failure> from_environment(const char* const* environment);
Result<ConfigSource, Failure> from_file(const std::string& path);

}  // namespace arenad::server
