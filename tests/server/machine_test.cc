// Where shards go, on machines that are described to hwloc in words.
#include "server/rpc/machine/machine.h"

#include <gtest/gtest.h>
#include <hwloc.h>

#include <memory>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "server/rpc/machine/cpus.h"

namespace arenad::server {
namespace {

using Places = std::vector<Machine::Place>;

// Numbers of hwloc's synthetic machines: cpus are counted core by core, and nodes in order.
Machine synthetic(const std::string& description, const std::vector<int>& allowed) {
  hwloc_topology_t topology = nullptr;
  EXPECT_EQ(hwloc_topology_init(&topology), 0);
  const std::unique_ptr<hwloc_topology, decltype(&hwloc_topology_destroy)> owned(
      topology, hwloc_topology_destroy);
  EXPECT_EQ(hwloc_topology_set_synthetic(topology, description.c_str()), 0) << description;
  EXPECT_EQ(hwloc_topology_load(topology), 0);
  return machine_of(topology, allowed);
}

std::vector<int> cpus_up_to(int count) {
  std::vector<int> cpus(static_cast<std::size_t>(count));
  std::iota(cpus.begin(), cpus.end(), 0);
  return cpus;
}

constexpr const char* kTwoNodes = "pack:2 [numa(memory=1073741824)] core:4 pu:2";

TEST(Machine, CoresOfAllNodesInTurnComeBeforeSecondThreads) {
  const Machine machine = synthetic(kTwoNodes, cpus_up_to(16));
  EXPECT_EQ(machine.places, (Places{{0, 0},
                                    {8, 1},
                                    {2, 0},
                                    {10, 1},
                                    {4, 0},
                                    {12, 1},
                                    {6, 0},
                                    {14, 1},
                                    {1, 0},
                                    {9, 1},
                                    {3, 0},
                                    {11, 1},
                                    {5, 0},
                                    {13, 1},
                                    {7, 0},
                                    {15, 1}}));
  EXPECT_EQ(machine.cores, 8u);
  EXPECT_EQ(machine.numa_nodes, (std::vector<unsigned>{0, 1}));
  EXPECT_EQ(machine.fallback, "");
}

TEST(Machine, OnlyAllowedCpusCount) {
  // A second thread alone stands for its core. Node 0 has one core here, node 1 has three.
  const Machine machine = synthetic(kTwoNodes, {1, 8, 9, 10, 15});
  EXPECT_EQ(machine.places, (Places{{1, 0}, {8, 1}, {10, 1}, {15, 1}, {9, 1}}));
  EXPECT_EQ(machine.cores, 4u);
}

TEST(Machine, CpusWithoutCoresCountAsCores) {
  const Machine machine = synthetic("pack:1 pu:4", cpus_up_to(4));
  EXPECT_EQ(machine.places, (Places{{0, 0}, {1, 0}, {2, 0}, {3, 0}}));
  EXPECT_EQ(machine.cores, 4u);
}

TEST(Machine, NodesWithoutMemoryGetNone) {
  const Machine machine =
      synthetic("pack:1 [numa(memory=1073741824)] [numa(memory=0)] core:4 pu:1", cpus_up_to(4));
  EXPECT_EQ(machine.numa_nodes, (std::vector<unsigned>{0}));
  EXPECT_EQ(machine.cores, 4u);
}

TEST(Machine, WithoutATopologyCpusComeInOrder) {
  for (const Machine& machine : {synthetic("core:2 pu:1", {7, 9}),  // other cpus than these
                                 machine_without_topology({7, 9}, "no reason")}) {
    EXPECT_EQ(machine.places, (Places{{7, -1}, {9, -1}}));
    EXPECT_EQ(machine.cores, 2u);
    EXPECT_TRUE(machine.numa_nodes.empty());
    EXPECT_NE(machine.fallback, "");
    EXPECT_EQ(places_text(machine, 1), "shard 0 on cpu 7");
  }
}

TEST(Machine, MoreShardsThanPlacesShareThem) {
  const Machine machine = synthetic(kTwoNodes, {0, 8});
  EXPECT_EQ(place_of_shard(machine, 1).cpu, 8);
  EXPECT_EQ(place_of_shard(machine, 2).cpu, 0);
  EXPECT_EQ(places_text(machine, 3),
            "shard 0 on cpu 0 of NUMA node 0, shard 1 on cpu 8 of NUMA node 1, shard 2 on cpu 0 of "
            "NUMA node 0");
}

TEST(Machine, ThisMachineHasTheAllowedCpusEachOnce) {
  const Machine machine = this_machine();
  std::set<int> cpus;
  for (const Machine::Place& place : machine.places) EXPECT_TRUE(cpus.insert(place.cpu).second);
  const std::vector<int> allowed = allowed_cpus();
  EXPECT_EQ(cpus, std::set<int>(allowed.begin(), allowed.end()));
  EXPECT_EQ(machine.fallback, "");
  EXPECT_GE(default_shards(machine), 1u);
  EXPECT_LE(default_shards(machine), machine.cores);
  EXPECT_LE(machine.cores, machine.places.size());
}

}  // namespace
}  // namespace arenad::server
