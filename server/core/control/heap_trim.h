// HeapTrim: gives memory of the daemon's own malloc back to the system after a burst.
//
// Purpose: glibc keeps what lies between blocks in use, however much it is. 10,000 calls that
//   waited left 190 MiB for ever. What is free is given back when a burst has freed a lot, and is
//   over.
// Threads: look() and due() by one thread. A malloc of another thread may wait for a trim; that is
//   tens of milliseconds after the largest bursts.
// Crash: private memory of the daemon.
#pragma once

#include <cstddef>

namespace arenad::server {

class HeapTrim {
 public:
  static constexpr std::size_t kWorthIt = 16 << 20;  // bytes

  // Asks malloc, and gives back if due.
  void look();
  // Whether to give back now, when malloc has `free_bytes` that nobody uses. True when they grew by
  // kWorthIt above their lowest since the last time, and did not grow since the last question.
  bool due(std::size_t free_bytes);

 private:
  std::size_t lowest_ = ~std::size_t{0};
  std::size_t last_ = 0;
};

}  // namespace arenad::server
