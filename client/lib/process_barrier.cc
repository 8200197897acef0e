#include "client/lib/process_barrier.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace arenad::client {
namespace {

constexpr int kNoCommand = 0;  // MEMBARRIER_CMD_QUERY, which is no barrier

bool membarrier(int command) { return ::syscall(SYS_membarrier, command, 0, 0) == 0; }

// The command that works here. Each is tried: a filter may forbid one of them.
int working_command() {
  if (membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) &&
      membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED))
    return MEMBARRIER_CMD_PRIVATE_EXPEDITED;
  return membarrier(MEMBARRIER_CMD_GLOBAL) ? MEMBARRIER_CMD_GLOBAL : kNoCommand;
}

int command() {
  static const int chosen = working_command();
  return chosen;
}

}  // namespace

bool can_barrier_everywhere() { return command() != kNoCommand; }

bool barrier_everywhere() { return can_barrier_everywhere() && membarrier(command()); }

}  // namespace arenad::client
