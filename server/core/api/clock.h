// The clock of the engine.
//
// Purpose: a time in nanoseconds that never goes back. Every deadline inside the engine is such a
// time, and so is the argument of ShardApi::tick.
// Threads: any. Crash: nothing is shared.
#pragma once

#include <chrono>
#include <cstdint>

namespace arenad::server {

inline constexpr std::uint64_t kNsPerMs = 1'000'000;

inline std::uint64_t now_ns() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                        std::chrono::steady_clock::now().time_since_epoch())
                                        .count());
}

}  // namespace arenad::server
