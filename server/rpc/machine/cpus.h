// The cpus that this process may use.
//
// Purpose: what affinity and cgroups allow. machine.h says which of these cpus shards get.
// Threads: pure functions that read /proc and /sys. Crash: nothing is shared.
#pragma once

#include <string>
#include <vector>

namespace arenad::server {

// The cpus in the affinity mask of this process, in ascending order. Never empty.
std::vector<int> allowed_cpus();

// The tightest cpu.max (cgroup v2) between the process's group and the root, in cpus and rounded
// up. 0: no limit. `proc_cgroup` is the text of /proc/self/cgroup, `root` is the mount point of the
// hierarchy.
unsigned cgroup_cpus(const std::string& proc_cgroup, const std::string& root);

// The same of this process.
unsigned cgroup_cpus();

}  // namespace arenad::server
