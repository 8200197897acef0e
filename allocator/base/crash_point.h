// CRASH_POINT("name"): a place in front of a store to shared memory, where a test kills the
// process, or holds up a thread.
//
// Purpose: with the CMake option ARENAD_CRASH_POINTS, tests/crash arms one point in one process.
// When that process reaches the point for the nth time, it kills itself (SIGKILL). Each point also
// counts how often it is passed. The fuzzers (ARENAD_FUZZ) change shared memory at the points. In
// all other builds the macro is nothing.
// Threads: any. Crash: that is its purpose.
#pragma once

#if ARENAD_CRASH_POINTS

#include <atomic>
#include <cstdint>

#include "export.h"

namespace arenad::crash {

inline constexpr std::uint32_t kMaxPoints = 128;
inline constexpr std::uint32_t kMaxRoles = 8;

// Lies in memory that all processes of a test share. A zeroed one is empty.
struct Hits {
  struct Point {
    std::atomic<std::uint64_t> name_hash;
    char name[40];
    std::atomic<std::uint64_t> by_role[kMaxRoles];
  };
  Point points[kMaxPoints];
};

// From here on this process counts in `hits` under `role`.
ARENAD_API void count_in(Hits* hits, std::uint32_t role);
// This process dies at the `nth` hit (from 1) of that point from now on.
ARENAD_API void arm(const char* name, std::uint64_t nth);
// Threads of this process call `hold` at each hit of that point from now on.
ARENAD_API void hold_at(const char* name, void (*hold)());

// This process calls `function` at each hit of any point from now on.
ARENAD_API void call_at_each(void (*function)());

ARENAD_API std::uint32_t index_of(const char* name);
ARENAD_API void hit(std::uint32_t index);

}  // namespace arenad::crash

#define CRASH_POINT(name)                                                           \
  do {                                                                              \
    static const std::uint32_t crash_point_index = ::arenad::crash::index_of(name); \
    ::arenad::crash::hit(crash_point_index);                                        \
  } while (false)

#else
#define CRASH_POINT(name) static_cast<void>(0)
#endif
