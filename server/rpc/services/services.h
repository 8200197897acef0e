// The services that a shard offers.
//
// Purpose: one factory a service, so that each one's generated code is seen by one source file.
// Threads: call while no loop runs; see rpc_service.h. Crash: nothing is shared.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "server/rpc/services/rpc_service.h"

namespace arenad::server {

// What GetTopology says; the same for every shard.
struct TopologyFacts {
  struct Shard {
    std::string address;  // gRPC target
    int cpu = -1;
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
std::unique_ptr<RpcService> make_admin_service(
    ControlApi& control, const TopologyFacts& topology);  // keeps the reference
std::unique_ptr<RpcService> make_health_service(ControlApi& control);
std::unique_ptr<RpcService> make_reflection_service();
std::unique_ptr<RpcService> make_reflection_v1alpha_service();

// All of them, as arenad offers them on each of its shards.
std::vector<std::unique_ptr<RpcService>> make_services(ControlApi& control,
                                                       const TopologyFacts& topology);

// Full names of all of them: what reflection lists and health knows.
const std::vector<std::string>& service_names();

}  // namespace arenad::server
