// from_flags: the command line.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <string_view>

#include "arenad/version.h"
#include "server/rpc/config/config_keys.h"
#include "server/rpc/config/config_sources.h"

namespace arenad::server {
namespace {

constexpr int kWrongUsage = 2;

}  // namespace

CommandLine from_flags(int argc, const char* const* argv) {
  CommandLine line;
  CLI::App app{"arenad: shared-memory arenas for the processes and containers of one host."};
  app.footer(
      "Each option is also a key of the TOML file (idle_drain_ms) and a variable "
      "(ARENAD_IDLE_DRAIN_MS).\n"
      "A flag wins over a variable, a variable wins over the file. Sizes are bytes, or numbers "
      "with KiB, MiB, GiB or TiB.\n"
      "Exit codes: 0 stopped as asked, 1 could not start or run, 2 wrong configuration.");
  app.set_version_flag("--version", "arenad " + std::string(arenad::kVersion));
  app.add_option("--config", line.config_file, "TOML file to read; also ARENAD_CONFIG")
      ->type_name("FILE");
  app.add_flag("--print-config", line.print_config,
               "print the configuration that results, as TOML, and exit");
  app.add_flag("--check-config", line.check_config, "check the configuration and exit");

  std::map<std::string, std::string> single;
  std::map<std::string, std::vector<std::string>> lists;
  for (const ConfigKey& key : config_keys()) {
    const std::string help =
        key.help + (key.default_text.empty() ? "" : " [" + key.default_text + "]");
    const char* const group = key.kind == ConfigKey::Kind::kTunable
                                  ? "Tunables (SetTunables changes them while the daemon runs)"
                                  : "Options";
    switch (key.kind) {
      case ConfigKey::Kind::kSwitch:
        app.add_flag(key.flag() + "{true}", single[key.name], help)->group(group);
        break;
      case ConfigKey::Kind::kList:
        app.add_option(key.flag(), lists[key.name], help)
            ->group(group)
            ->allow_extra_args(false)
            ->type_name(key.item);
        break;
      default:
        app.add_option(key.flag(), single[key.name], help)
            ->group(group)
            ->type_name(key.kind == ConfigKey::Kind::kSize   ? "SIZE"
                        : key.kind == ConfigKey::Kind::kText ? "TEXT"
                                                             : "N");
    }
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    line.exit = true;
    if (e.get_exit_code() == 0) {
      app.exit(e);  // prints what --help and --version ask for
      return line;
    }
    std::cerr << "arenad: " << e.what();
    std::vector<std::string> known = {"--config", "--print-config", "--check-config", "--help",
                                      "--version"};
    for (const ConfigKey& key : config_keys()) known.push_back(key.flag());
    for (int i = 1; i < argc; ++i) {
      const std::string word = std::string(argv[i]).substr(0, std::string_view(argv[i]).find('='));
      if (word.starts_with("--") && std::find(known.begin(), known.end(), word) == known.end())
        std::cerr << nearest(word, known);
    }
    std::cerr << "\narenad: see --help\n";
    line.exit_code = kWrongUsage;
    return line;
  }
  for (const ConfigKey& key : config_keys()) {
    if (app.get_option(key.flag())->count() == 0) continue;
    const bool list = key.kind == ConfigKey::Kind::kList;
    line.values[key.name] = {list ? lists[key.name] : std::vector<std::string>{single[key.name]},
                             "flag " + key.flag()};
  }
  return line;
}

}  // namespace arenad::server
