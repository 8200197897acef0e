// Sizes that many tests use.
#pragma once

#include <cstdint>

namespace arenad {

inline constexpr std::uint64_t kMiB = 1 << 20;

}  // namespace arenad
