#include "client/lib/fork_guard.h"

#include <pthread.h>

#include <mutex>

#include "client/lib/peer_heap.h"

namespace arenad::client {

namespace detail {
constinit std::atomic<bool> is_fork{false};
}

// All living Pinned objects. Its mutex is held across fork, so that the child finds the list whole.
struct PinRegistry {
  static inline constinit std::mutex mutex;
  static inline constinit Pinned* first = nullptr;

  static void before_fork() { mutex.lock(); }
  static void after_fork_in_parent() { mutex.unlock(); }
  static void after_fork_in_child() {
    detail::is_fork.store(true, std::memory_order_relaxed);
    peer_cache.clear();
    for (Pinned* p = first; p != nullptr; p = p->next_)
      if (!p->self_)
        p->self_ = p->weak_from_this().lock();  // no allocation: the count is there already
    mutex.unlock();
  }

  static void add(Pinned* p) {
    const std::lock_guard lock(mutex);
    p->next_ = first;
    if (first != nullptr) first->previous_ = p;
    first = p;
  }
  static void remove(Pinned* p) {
    const std::lock_guard lock(mutex);
    (p->previous_ != nullptr ? p->previous_->next_ : first) = p->next_;
    if (p->next_ != nullptr) p->next_->previous_ = p->previous_;
  }
};

Pinned::Pinned() { PinRegistry::add(this); }
Pinned::~Pinned() { PinRegistry::remove(this); }

void watch_forks() {
  static const int registered =
      ::pthread_atfork(PinRegistry::before_fork, PinRegistry::after_fork_in_parent,
                       PinRegistry::after_fork_in_child);
  (void)registered;
}

Status forked_status() {
  return {Code::kFailedPrecondition, Error::kForked,
          "this process is a fork of one that had connected to arenad, and has none of its threads "
          "and mappings; exec a program, or "
          "fork before the first Client::connect"};
}

}  // namespace arenad::client
