// HostMemory: what the machine and the daemon's cgroups can still give.
//
// Purpose: reads /proc/meminfo, and the memory controller of cgroup v1 and v2 for the daemon's
//   cgroup and all its ancestors that the daemon can see. A container sees its own cgroup and not
//   those outside.
// Invariants: memory that the kernel takes back before it kills (page cache that no arena lies in)
//   counts as free. Swap does not count. A file that cannot be read bounds nothing.
// Threads: any, at once. Crash: reads only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "allocator/base/error.h"

namespace arenad::server {

// One limit of the host.
struct MemoryBound {
  std::string name;               // "the memory limit of cgroup /sys/fs/cgroup/box (memory.max)"
  std::uint64_t limit_bytes = 0;  // of the whole
  std::uint64_t free_bytes = 0;   // what it still leaves
};

class HostMemory {
 public:
  // `root` is in front of /proc and of the mount points of cgroups. Tests give a directory.
  explicit HostMemory(std::string root = "");

  // Every limit that there is, the machine's first.
  std::vector<MemoryBound> bounds() const;

 private:
  // A mounted memory controller.
  struct Controller {
    bool v2 = false;
    std::string shown;  // which cgroup is at the mount point, as /proc/self/cgroup names it
    std::string mount;  // the mount point
  };

  void find_controllers();
  void add_machine(std::vector<MemoryBound>& bounds) const;
  void add_cgroup(const Controller& of, const std::string& directory,
                  std::vector<MemoryBound>& bounds) const;

  const std::string root_;
  std::vector<Controller> controllers_;  // mounts do not come and go
};

// What the file system of an open file can still give. `limit_bytes` is 0 when it has no limit of
// its own: a memfd, a tmpfs without a size.
MemoryBound file_system_bound(int fd);

}  // namespace arenad::server
