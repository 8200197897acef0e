#include "server/rpc/services/services.h"

namespace arenad::server {

std::vector<std::unique_ptr<RpcService>> make_services(ControlApi& control,
                                                       const TopologyFacts& topology) {
  std::vector<std::unique_ptr<RpcService>> services;
  services.push_back(make_arenas_service(control));
  services.push_back(make_sessions_service(control));
  services.push_back(make_blocks_service());
  services.push_back(make_heaps_service());
  services.push_back(make_admin_service(control, topology));
  services.push_back(make_health_service(control));
  services.push_back(make_reflection_service());
  services.push_back(make_reflection_v1alpha_service());
  return services;
}

const std::vector<std::string>& service_names() {
  static const std::vector<std::string> names = {
      "arenad.v1.Admin",
      "arenad.v1.Arenas",
      "arenad.v1.Blocks",
      "arenad.v1.Heaps",
      "arenad.v1.Sessions",
      "grpc.health.v1.Health",
      "grpc.reflection.v1.ServerReflection",
      "grpc.reflection.v1alpha.ServerReflection",
  };
  return names;
}

}  // namespace arenad::server
