#include "server/rpc/grpc_log.h"

#include <grpc/support/log.h>
#include <spdlog/spdlog.h>

#include <cstdint>

#include "allocator/base/log.h"

namespace arenad::server {
namespace {

void write(gpr_log_func_args* line) {
  static RateLimit limit(1);
  if (!limit.allow()) return;
  const std::uint64_t left_out = limit.suppressed();
  if (left_out == 0)
    spdlog::warn("gRPC: {}", line->message);
  else
    spdlog::warn("gRPC: {} (and {} lines before)", line->message, left_out);
}

}  // namespace

void grpc_log_to_spdlog() { ::gpr_set_log_function(write); }

}  // namespace arenad::server
