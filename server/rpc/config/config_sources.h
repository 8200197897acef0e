// Where configuration comes from: command line, environment and file.
//
// Purpose: each source gives texts by key. config.cc merges the sources, config_check.cc checks the
// texts.
// Threads: pure functions. from_file reads a file. Crash: nothing is shared.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "allocator/base/error.h"

namespace arenad::server {

struct ConfigValue {
  std::vector<std::string> texts;  // any number for a list, else one
  std::string origin;  // "flag --shards", "variable ARENAD_SHARDS", "/etc/arenad.toml line 3"
};
using ConfigSource = std::map<std::string, ConfigValue>;  // by name of the key

struct CommandLine {
  ConfigSource values;
  std::string config_file;  // of --config; empty: none
  bool print_config = false;
  bool check_config = false;
  bool exit = false;  // --help, --version or an error; the text was printed
  int exit_code = 0;
};

CommandLine from_flags(int argc, const char* const* argv);

// Errors: kInvalidOption, an ARENAD_* variable that no key has. HAKMEM_TINY_P0_* stand for the
// tunables of their name: any value but 0 is on.
Result<ConfigSource, Failure> from_environment(const char* const* environment);

// Errors: kInvalidOption: the file cannot be read, is not TOML, or has an unknown key.
Result<ConfigSource, Failure> from_file(const std::string& path);

}  // namespace arenad::server
