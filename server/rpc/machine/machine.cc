#include "server/rpc/machine/machine.h"

#include <fmt/format.h>
#include <hwloc.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <tuple>
#include <utility>

#include "server/rpc/machine/cpus.h"

namespace arenad::server {
namespace {

struct DestroyTopology {
  void operator()(hwloc_topology* topology) const { hwloc_topology_destroy(topology); }
};
using Topology = std::unique_ptr<hwloc_topology, DestroyTopology>;

// None with errno.
Topology load_topology() {
  hwloc_topology_t topology = nullptr;
  if (hwloc_topology_init(&topology) != 0) return nullptr;
  Topology owned(topology);
  // To look at a cpu hwloc would go there. The files of /sys say enough.
  if (hwloc_topology_set_flags(topology, HWLOC_TOPOLOGY_FLAG_DONT_CHANGE_BINDING) != 0 ||
      hwloc_topology_load(topology) != 0)
    return nullptr;
  return owned;
}

int node_of(hwloc_obj_t cpu) {
  return cpu->nodeset == nullptr ? -1 : hwloc_bitmap_first(cpu->nodeset);
}

std::vector<unsigned> nodes_with_memory(hwloc_topology_t topology) {
  std::vector<unsigned> nodes;
  for (hwloc_obj_t node = nullptr;
       (node = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, node)) != nullptr;)
    if (node->attr->numanode.local_memory != 0) nodes.push_back(node->os_index);
  std::ranges::sort(nodes);
  return nodes;
}

// A cpu, and its rank among those that a shard could take instead.
struct Candidate {
  Machine::Place place;
  unsigned thread = 0;  // which hardware thread of its core, counting allowed ones
  unsigned core = 0;    // which core of its node, likewise
};

std::vector<Candidate> candidates(hwloc_topology_t topology, const std::vector<int>& allowed) {
  std::vector<Candidate> all;
  std::map<hwloc_obj_t, std::pair<unsigned, unsigned>> cores;  // its number, threads so far
  std::map<int, unsigned> cores_of_node;
  for (hwloc_obj_t cpu = nullptr;
       (cpu = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_PU, cpu)) != nullptr;) {
    const int number = static_cast<int>(cpu->os_index);
    if (std::ranges::find(allowed, number) == allowed.end()) continue;
    // Virtual machines may have no cores in their tables.
    const hwloc_obj_t core = hwloc_get_ancestor_obj_by_type(topology, HWLOC_OBJ_CORE, cpu);
    const int node = node_of(cpu);
    const auto [found, is_new] = cores.try_emplace(core == nullptr ? cpu : core);
    auto& [core_number, threads] = found->second;
    if (is_new) core_number = cores_of_node[node]++;
    all.push_back({{number, node}, threads++, core_number});
  }
  std::ranges::sort(all, {}, [](const Candidate& c) {
    return std::tuple(c.thread, c.core, c.place.numa_node, c.place.cpu);
  });
  return all;
}

}  // namespace

Machine machine_without_topology(const std::vector<int>& allowed, std::string why) {
  Machine machine;
  for (const int cpu : allowed) machine.places.push_back({cpu, -1});
  machine.cores = static_cast<unsigned>(allowed.size());
  machine.fallback = std::move(why);
  return machine;
}

Machine machine_of(hwloc_topology* topology, const std::vector<int>& allowed) {
  Machine machine;
  for (const Candidate& candidate : candidates(topology, allowed)) {
    machine.places.push_back(candidate.place);
    if (candidate.thread == 0) ++machine.cores;
  }
  if (machine.places.empty())
    return machine_without_topology(
        allowed,
        "hwloc knows none of the cpus that this process may use, so shards take them in "
        "order");
  machine.numa_nodes = nodes_with_memory(topology);
  return machine;
}

Machine this_machine() {
  const std::vector<int> allowed = allowed_cpus();
  if (const Topology topology = load_topology()) return machine_of(topology.get(), allowed);
  return machine_without_topology(
      allowed, fmt::format("hwloc cannot read this machine ({}), so shards take cpus in order",
                           std::strerror(errno)));
}

unsigned default_shards(const Machine& machine) {
  const unsigned limit = cgroup_cpus();
  return std::max(1u, limit == 0 ? machine.cores : std::min(machine.cores, limit));
}

const Machine::Place& place_of_shard(const Machine& machine, std::size_t i) {
  return machine.places[i % machine.places.size()];
}

std::string places_text(const Machine& machine, unsigned shards) {
  std::string text;
  for (unsigned i = 0; i < shards; ++i) {
    const Machine::Place& place = place_of_shard(machine, i);
    text += fmt::format("{}shard {} on cpu {}", i == 0 ? "" : ", ", i, place.cpu);
    if (place.numa_node >= 0) text += fmt::format(" of NUMA node {}", place.numa_node);
  }
  return text;
}

}  // namespace arenad::server
