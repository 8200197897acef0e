// ProcessMark: what is written down of a process, so that a later daemon can tell whether it lives.
//
// Purpose: pid, start time, pidfs inode, boot and PID namespace of a process; and finding the
// process again, with a pidfd to watch.
// Invariants: a process is called dead only when that is certain: in the same boot and the same PID
//   namespace there is no such pid, or the pid has another pidfs inode or start time. What cannot
//   be seen from here is unknown, and may live: another PID namespace, another boot id, or a boot
//   id that cannot be read. A container may have a boot id of its own, so another boot id does not
//   prove another boot.
// Threads: pure functions and values. Crash: nothing is shared.
#pragma once

#include <cstdint>

#include "allocator/base/unique_fd.h"
#include "server/core/handoff/caller_process.h"

namespace arenad::server {

struct ProcessMark {
  std::uint64_t boot[2] = {0, 0};   // the boot id; zeros: could not be read
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
