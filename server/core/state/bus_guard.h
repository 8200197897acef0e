// BusGuard: an arena whose file is cut short by somebody who may write it does not take the daemon
// down.
//
// Purpose: memfds are sealed, files in a state directory cannot be: any process that was handed a
// descriptor may truncate the file,
//   and the next touch of a lost page raises SIGBUS. Inside a guarded mapping the handler puts zero
//   pages where the file has none any more, says so in `damaged`, and the touch is made again. What
//   was there is lost, so whoever sees the flag quarantines the arena. Any other SIGBUS is left to
//   whoever was there before, in the end to the default action.
// Invariants: a page is replaced only when it lies in a guarded mapping. Guards end before their
// mappings do. Threads: guards are made and ended by any thread; the handler runs on whichever
// thread touched the page, takes no lock and
//   allocates nothing. `damaged` may be read by any thread.
// Crash: private memory.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace arenad::server {

class BusGuard {
 public:
  BusGuard() = default;  // guards nothing
  // `fd`: the mapped file, mapped from its beginning, open as long as the guard; -1 when it is
  // closed already: then one page is replaced at a time. `damaged` outlives the guard. When all
  // places are taken (there are three an arena) nothing is guarded.
  BusGuard(const void* base, std::uint64_t bytes, int fd, std::atomic<bool>& damaged);
  ~BusGuard();
  BusGuard(const BusGuard&) = delete;
  BusGuard& operator=(const BusGuard&) = delete;

 private:
  int place_ = -1;
};

}  // namespace arenad::server
