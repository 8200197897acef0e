#include "server/core/api/tunables.h"

namespace arenad::server {

std::string TunableRow::description() const {
  if (is_switch()) return std::string(help) + " (0 or 1)";
  return std::string(help) + ", " + unit + " (" + std::to_string(min) + ".." + std::to_string(max) +
         ")";
}

}  // namespace arenad::server
