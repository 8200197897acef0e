// CRASH_POINT("name"): a place in front of a store to shared memory at which a test kills the process.
//
// Purpose: with the CMake option ARENAD_CRASH_POINTS a process that runs with ARENAD_CRASH_AT=name:n kills itself (SIGKILL) when
//   it comes to that point for the nth time (n from 1), and ARENAD_CRASH_HITS=FILE counts the hits of every point there. In all
//   other builds it is nothing.
// Threads: any. Crash: that is its purpose.
#pragma once

#if ARENAD_CRASH_POINTS

#include <atomic>
#include <cstdint>

namespace arenad {

class CrashPoint {
 public:
  explicit CrashPoint(const char* name);
  void hit();

 private:
  const char* const name_;
  std::uint64_t kill_at_ = 0;                 // 0: never
  std::atomic<std::uint64_t>* counter_;       // in the shared file of hits, or private
};

}  // namespace arenad

#define CRASH_POINT(name)                              \
  do {                                                 \
    static ::arenad::CrashPoint crash_point_here(name); \
    crash_point_here.hit();                            \
  } while (false)

#else
#define CRASH_POINT(name) static_cast<void>(0)
#endif
