#include "client/lib/fork_guard.h"

#include <pthread.h>

#include <mutex>

#include "arenad/peer_cache.h"

namespace arenad::client {

namespace detail {
constinit std::atomic<bool> is_fork{false};
}

// All living Pinned objects. The mutex is held across fork, so the child finds a whole list.
struct PinRegistry {
  static inline constinit std::mutex mutex;
  static inline constinit Pinned* first = nullptr;

  static void before_fork() { mutex.lock(); }
  static void after_fork_in_parent() { mutex.unlock(); }
  static void after_fork_in_child() {
    detail::is_fork.store(true, std::memory_order_relaxed);
    peer_cache.clear();
    for (Pinned* p = first; p != nullptr; p = p->next_)
      if (!p->self_) p->self_ = p->weak_from_this().lock();  // allocates nothing
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
          "this process is a fork of a process that had connected to arenad, and has not its "
          "threads and mappings; exec a program, or fork before the first Client::connect"};
}

}  // namespace arenad::client
