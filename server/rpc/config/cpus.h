// The cpus this process may use.
//
// Purpose: how many shards there should be and where they are pinned.
// Threads: pure but for reading /proc and /sys. Crash: nothing is shared.
#pragma once

#include <string>
#include <vector>

namespace arenad::server {

// The affinity mask of this process, ascending; never empty.
std::vector<int> allowed_cpus();

// ceil of the tightest cgroup v2 cpu.max on the way from the process's group to the root; 0: no
// limit. `proc_cgroup` is the text of /proc/self/cgroup, `root` the mount point of the hierarchy.
unsigned cgroup_cpus(const std::string& proc_cgroup, const std::string& root);

// min(affinity, ceil(cgroup cpu.max)), at least 1.
unsigned default_shards();

}  // namespace arenad::server
