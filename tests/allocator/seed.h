// The seed of a random test: printed, and given back with ARENAD_TEST_SEED.
//
// Threads: any. Crash: nothing is shared.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>

namespace arenad {

inline std::uint64_t test_seed() {
  const char* given = std::getenv("ARENAD_TEST_SEED");
  const std::uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 0) : std::random_device()();
  std::printf("ARENAD_TEST_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

}  // namespace arenad
