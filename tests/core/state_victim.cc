// state_victim: makes or removes an arena's files, or moves them away, one system call after the
// other, for a test that kills it in between. It stops itself (SIGSTOP) right before it begins and
// calls getppid when it is done.
//
//   state_victim create|remove|quarantine DIRECTORY NAME
#include <signal.h>
#include <unistd.h>

#include <string>

#include "server/core/state/state_directory.h"

using namespace arenad;
using namespace arenad::server;

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const std::string verb = argv[1], name = argv[3];
  auto state = StateDirectory::open(argv[2], "", [](LogLevel, const std::string&) {});
  if (!state.ok()) return 3;
  ArenaConfig options;
  options.name = name;
  options.capacity_bytes = kSuperslabBytes;
  options.max_heaps = 8;
  options.map_data = false;
  if (verb == "create") {
    ::raise(SIGSTOP);
    const auto arena = state->create(options, {});
    ::getppid();
    return arena.ok() ? 0 : 4;
  }
  auto arena = state->create(options, {});
  if (!arena.ok()) return 4;
  ::raise(SIGSTOP);
  if (verb == "remove")
    state->remove(**arena);
  else
    state->quarantine(name, "a test says so");
  ::getppid();
  return 0;
}
