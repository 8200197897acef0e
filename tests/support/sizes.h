// Sizes that many tests use.
#pragma once

#include <cstdint>

namespace arenad {

inline constexpr std::uint64_t kMiB = 1 << 20;
inline constexpr std::uint64_t kUnit = 64 << 10;  // kSlabUnitBytes

}  // namespace arenad
