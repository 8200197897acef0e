#include "allocator/base/format.h"

#include <array>
#include <system_error>

namespace arenad {

std::string bytes_text(std::uint64_t bytes) {
  static constexpr std::array kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  const bool whole = value == static_cast<double>(static_cast<std::uint64_t>(value));
  return whole ? fmt::format("{:.0f} {}", value, kUnits[unit])
               : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

Failure system_failure(Error e, const std::string& what, int system_errno) {
  return {e, fmt::format("{}: {}; {}", what, std::generic_category().message(system_errno),
                         error_advice(e))};
}

}  // namespace arenad
