// BusGuard: a client that cuts an arena's file short does not end the daemon.
//
// Purpose: memfds are sealed, but files in a state directory cannot be. Any process that was handed
// a descriptor may truncate the file, and the next touch of a lost page raises SIGBUS. Inside a
// guarded mapping the signal handler puts zero pages where the file has none any more, and sets
// `damaged`. Then the touch is made again. What was there is lost, so whoever sees the flag
// quarantines the arena. Any other SIGBUS goes to the handler that was there before, in the end to
// the default action.
// Invariants: a page is replaced only when it lies in a guarded mapping. A guard ends before its
// mapping does.
// Threads: any thread makes and ends guards. The handler runs on the thread that touched the page;
// it takes no lock and allocates nothing. Any thread may read `damaged`.
// Crash: private memory of the daemon.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace arenad::server {

class BusGuard {
 public:
  BusGuard() = default;  // guards nothing
  // `fd` is the mapped file. It is mapped from its beginning, and stays open as long as the guard.
  // -1 means that the file is closed; then one page is replaced at a time. `damaged` outlives the
  // guard. When all places are taken (there are three an arena), nothing is guarded.
  BusGuard(const void* base, std::uint64_t bytes, int fd, std::atomic<bool>& damaged);
  ~BusGuard();
  BusGuard(const BusGuard&) = delete;
  BusGuard& operator=(const BusGuard&) = delete;

 private:
  int place_ = -1;
};

}  // namespace arenad::server
