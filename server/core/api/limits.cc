#include "server/core/api/limits.h"

namespace arenad::server {

std::string check_limits(const Limits& limits) {
  for (const LimitRow& row : kLimitTable) {
    const std::uint64_t value = row.get(limits);
    if (value >= row.min && value <= row.max) continue;
    return std::string(row.name) + " is " + std::to_string(value) + ": give " +
           std::to_string(row.min) + " to " + std::to_string(row.max);
  }
  return {};
}

}  // namespace arenad::server
