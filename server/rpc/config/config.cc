#include "server/rpc/config/config.h"

#include <string_view>

#include "server/rpc/config/config_check.h"
#include "server/rpc/config/config_print.h"
#include "server/rpc/config/config_sources.h"

namespace arenad::server {
namespace {

// The file that the command line names, else the file that ARENAD_CONFIG names, else none.
std::string file_to_read(const CommandLine& line, const char* const* environment) {
  constexpr std::string_view kVariable = "ARENAD_CONFIG=";
  std::string file = line.config_file;
  for (const char* const* entry = environment; file.empty() && *entry != nullptr; ++entry)
    if (const std::string_view text = *entry; text.starts_with(kVariable))
      file = text.substr(kVariable.size());
  return file;
}

}  // namespace

Result<Invocation, Failure> load_config(int argc, const char* const* argv,
                                        const char* const* environment) {
  Invocation invocation;
  const CommandLine line = from_flags(argc, argv);
  if (line.exit) {
    invocation.action = Invocation::Action::kExit;
    invocation.exit_code = line.exit_code;
    return invocation;
  }
  // The caller has just typed the command line, so an error there is reported first.
  if (auto flags = check_config(line.values); !flags.ok()) return flags.error();

  // merge() keeps a value that is there already. So the strongest source comes first.
  ConfigSource merged = line.values;
  auto variables = from_environment(environment);
  if (!variables.ok()) return variables.error();
  merged.merge(*variables);
  if (const std::string file = file_to_read(line, environment); !file.empty()) {
    auto keys = from_file(file);
    if (!keys.ok()) return keys.error();
    merged.merge(*keys);
  }

  auto config = check_config(merged);
  if (!config.ok()) return config.error();
  invocation.config = std::move(*config);
  invocation.config.as_toml = to_toml(merged);
  invocation.config.values = toml_values(merged);
  if (line.print_config)
    invocation.action = Invocation::Action::kPrint;
  else if (line.check_config)
    invocation.action = Invocation::Action::kCheck;
  return invocation;
}

}  // namespace arenad::server
