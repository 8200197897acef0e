// Machine: where shards go, and which NUMA nodes there are, as hwloc sees them.
//
// Purpose: a shard has a physical core for itself while there are cores. So the first shards get
// the first hardware threads of different cores, on the NUMA nodes in turn. Only then do further
// shards get the second hardware threads.
// Invariants: only cpus that the affinity mask of this process allows. Without hwloc's answer the
// cpus are taken in the order of the mask, each as a core of its own, and `fallback` says why.
// Threads: pure functions that read /proc and /sys. Crash: nothing is shared.
#pragma once

#include <string>
#include <vector>

struct hwloc_topology;  // <hwloc.h>

namespace arenad::server {

struct Machine {
  struct Place {
    int cpu = 0;
    int numa_node = -1;  // -1: not known
    bool operator==(const Place&) const = default;
  };
  std::vector<Place> places;         // in the order in which shards take them; never empty
  unsigned cores = 0;                // how many of the first places are on different cores
  std::vector<unsigned> numa_nodes;  // those with memory, ascending; empty: not known
  std::string fallback;              // why hwloc was not followed; empty: it was
};

// Of a topology that is loaded. `allowed`: cpus, not empty.
Machine machine_of(hwloc_topology* topology, const std::vector<int>& allowed);
// Of the machine that this process runs on.
Machine this_machine();
// The same as it is without hwloc.
Machine machine_without_topology(const std::vector<int>& allowed, std::string why);

// How many shards there are unless somebody says: one for each core, and no more than the cgroup
// has cpus (cgroup_cpus). At least 1.
unsigned default_shards(const Machine& machine);

// "shard 0 on cpu 0 of NUMA node 0, shard 1 on ..."
std::string places_text(const Machine& machine, unsigned shards);
// The place of shard `i`. When there are more shards than places they share.
const Machine::Place& place_of_shard(const Machine& machine, std::size_t i);

}  // namespace arenad::server
