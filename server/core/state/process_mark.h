// ProcessMark: what is written down of a process, so that a later daemon can tell whether it lives.
//
// Purpose: pid, start time, pidfs inode, boot and PID namespace of a process; and finding the
// process again, with a pidfd to watch.
// Invariants: a process is called dead only when that is certain: another boot, no such pid, or
// another start time. A process that is not visible from here (another PID namespace) is unknown,
// and may live.
// Threads: pure functions and values. Crash: nothing is shared.
#pragma once

#include <cstdint>

#include "allocator/base/unique_fd.h"
#include "server/core/handoff/caller_process.h"

namespace arenad::server {

struct ProcessMark {
  std::uint64_t boot[2] = {0, 0};   // the host's boot id
  std::uint64_t pid_namespace = 0;  // of the daemon that wrote this; what `pid` means
  std::uint64_t pidfs_inode = 0;    // 0: the kernel has none
  std::uint64_t start_time = 0;     // field 22 of /proc/PID/stat, clock ticks; 0: could not be read
  std::int32_t pid = 0;             // 0: not visible from the daemon
};

// The process at the other end of a handoff.
ProcessMark mark_of(const CallerProcess& process);

enum class Life : std::uint8_t { kAlive, kDead, kUnknown };

struct FoundProcess {
  Life life = Life::kUnknown;
  UniqueFd pidfd;            // when alive
  ProcessIdentity identity;  // when alive, or as far as it was written down
};

FoundProcess find_again(const ProcessMark& mark);

}  // namespace arenad::server
