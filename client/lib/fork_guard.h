// fork: an inherited object of the client does nothing in the child.
//
// Purpose: forked() says that this process is a child of a process that had connected. Threads,
//   sockets and gRPC objects that the child inherited are the parent's. So the child must not join,
//   close or free them: they are pinned.
// Invariants: the handler runs in the child before fork() returns, on the child's only thread. It
//   empties that thread's PeerCache, so no fast path goes on in memory that the child does not map
//   (MADV_DONTFORK).
// Threads: any thread calls forked(). Crash: nothing is shared.
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

// Registers the fork handlers, once. Client::connect calls it, so a process that forks before it
// connects is not affected.
void watch_forks();

// Base of the objects that a child must never destroy. Only std::make_shared makes them.
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
  std::shared_ptr<Pinned> self_;  // in a child: this object, so that it is never destroyed
};

}  // namespace arenad::client
