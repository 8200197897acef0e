// fork: what an inherited client object may do in the child, which is nothing.
//
// Purpose: forked() says that this process is a fork of one that had connected. Whatever such a
// process inherited of this library is
//   pinned in the child: its threads, sockets and gRPC objects are the parent's, so nothing of it
//   may be joined, closed or freed.
// Invariants: the child's handler runs before fork() returns there, on its only thread; it empties
// that thread's heap caches, so
//   that no fast path goes on in memory that the child does not map (MADV_DONTFORK).
// Threads: forked() by any. Crash: nothing is shared.
#pragma once

#include <atomic>
#include <memory>

#include "arenad/status.h"

namespace arenad::client {

namespace detail {
extern constinit std::atomic<bool> is_fork;
}

inline bool forked() { return detail::is_fork.load(std::memory_order_relaxed); }
Status forked_status();  // FORKED, and what to do

// Registers the fork handlers, once. By Client::connect, so that processes that fork before it are
// none of our business.
void watch_forks();

// Base of what a child must never destroy. Made by std::make_shared only.
class Pinned : public std::enable_shared_from_this<Pinned> {
 public:
  Pinned();
  virtual ~Pinned();
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;

 private:
  friend struct PinRegistry;
  Pinned* previous_ = nullptr;
  Pinned* next_ = nullptr;
  std::shared_ptr<Pinned> self_;  // in a child: itself, for good
};

}  // namespace arenad::client
