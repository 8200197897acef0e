// Another boot id for one process: a file that is mounted over /proc/sys/kernel/random/boot_id.
//
// Purpose: containers may have boot ids of their own. A daemon that starts under another boot id
//   than its clients' must not call them dead.
// Invariants: the mount is in a mount namespace of the process alone. It ends with the process.
// Threads: one; enter_other_boot wants a process without other threads. Crash: nothing is shared.
#pragma once

#include <string>

namespace arenad::load::chaos {

// Tries it in a child process. Returns why it is not possible here; empty: it is possible.
std::string why_no_other_boot();

// Mounts `file` over the boot id of this process. Returns what failed; empty: nothing.
std::string enter_other_boot(const std::string& file);

}  // namespace arenad::load::chaos
