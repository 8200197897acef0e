// The capacity of the largest arena. Where a process has too few addresses for the control memory
// of many such arenas (ThreadSanitizer, qemu-user): of a large one, and fewer of them.
//
// Threads, crash: constants.
#pragma once

#include <cstdint>

#include "allocator/arena/arena_config.h"

namespace arenad::test {

#if defined(__SANITIZE_THREAD__) || defined(__aarch64__)
inline constexpr std::uint64_t kLargestHere = std::uint64_t{256} << 30;
inline constexpr int kManyLargest = 2;
#else
inline constexpr std::uint64_t kLargestHere = kMaxArenaBytes;
inline constexpr int kManyLargest = 24;  // a process has addresses for 30 at most
#endif

}  // namespace arenad::test
