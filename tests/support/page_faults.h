// Page faults of the calling thread: a measure of work that no clock and no busy machine changes.
//
// Purpose: private tables of an arena take no memory before they are touched. So a loop over the
//   capacity of an arena of 4 TiB faults thousands of pages in, and work in proportion to what is
//   in use faults a few dozen.
// Threads: any. Crash: a test's.
#pragma once

#include <sys/resource.h>

#include <cstdint>

namespace arenad::test {

inline std::uint64_t page_faults() {
  rusage usage{};
  return ::getrusage(RUSAGE_THREAD, &usage) == 0 ? static_cast<std::uint64_t>(usage.ru_minflt) : 0;
}

// The faults of f().
template <class F>
std::uint64_t page_faults_of(F&& f) {
  const std::uint64_t before = page_faults();
  f();
  return page_faults() - before;
}

}  // namespace arenad::test
