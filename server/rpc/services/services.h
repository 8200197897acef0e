// The services that a shard offers.
//
// Purpose: one factory for each service. So only one source file includes a service's generated
// code.
// Threads: call these while no loop runs (rpc_service.h). Crash: nothing is shared.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "server/rpc/services/rpc_service.h"

namespace arenad::server {

// The answer of GetTopology, the same on every shard.
struct TopologyFacts {
  struct Shard {
    std::string address;  // gRPC target
    int cpu = -1;
    int numa_node = -1;
  };
  std::string version;
  std::string build_type;
  std::string common_address;
  std::string handoff_path;
  std::vector<Shard> shards;
  std::uint64_t started_ns = 0;  // clock.h
};

std::unique_ptr<RpcService> make_arenas_service(ControlApi& control);
std::unique_ptr<RpcService> make_sessions_service(ControlApi& control);
std::unique_ptr<RpcService> make_blocks_service();
std::unique_ptr<RpcService> make_heaps_service();
// Keeps the reference to `topology`.
std::unique_ptr<RpcService> make_admin_service(ControlApi& control, const TopologyFacts& topology);
std::unique_ptr<RpcService> make_health_service(ControlApi& control);
std::unique_ptr<RpcService> make_reflection_service();
std::unique_ptr<RpcService> make_reflection_v1alpha_service();

// All services, for one shard.
std::vector<std::unique_ptr<RpcService>> make_services(ControlApi& control,
                                                       const TopologyFacts& topology);

// The full names of all services. Reflection lists them, health answers for them.
const std::vector<std::string>& service_names();

}  // namespace arenad::server
