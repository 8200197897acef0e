// Inbox: how other threads hand work to the one thread that runs a shard (or to the control
// thread).
//
// Purpose: a lock-free many-producer, one-consumer queue of closures that wakes its consumer when
// it was empty. Invariants: the list head is the wake flag: whoever turns it from empty to
// non-empty wakes the consumer, and only he
//   does, so there is one wake-up for each time the consumer took everything. Tasks of one producer
//   run in the order in which they were pushed.
// Threads: push, empty and set_waker by any thread; run by the consumer alone.
// Crash: private memory of the daemon.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <utility>

#include "server/core/api/api.h"

namespace arenad::server {

class Inbox {
 public:
  using Task = std::function<void()>;

  Inbox() = default;
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;
  ~Inbox() {
    for (Node* node = head_.load(std::memory_order_acquire); node != nullptr;)
      delete std::exchange(node, node->next);
  }

  void push(Task task) {
    Node* node = new Node{std::move(task), nullptr};
    Node* before = head_.load(std::memory_order_relaxed);
    do {
      node->next = before;
    } while (!head_.compare_exchange_weak(before, node, std::memory_order_seq_cst,
                                          std::memory_order_relaxed));
    if (before == nullptr) wake();
  }

  // Runs what was there when it was called; what the tasks push is left for the next call, and the
  // waker has been called for it. Returns how many it ran.
  std::uint64_t run() {
    Node* newest =
        head_.exchange(nullptr, std::memory_order_acquire);  // pairs with the exchange in push
    Node* oldest = nullptr;
    while (newest != nullptr) {
      Node* next = newest->next;
      newest->next = oldest;
      oldest = newest;
      newest = next;
    }
    std::uint64_t ran = 0;
    while (oldest != nullptr) {
      Node* node = std::exchange(oldest, oldest->next);
      node->task();
      delete node;
      ++ran;
    }
    return ran;
  }

  bool empty() const { return head_.load(std::memory_order_seq_cst) == nullptr; }

  // Store then look, as push looks after its store: one of the two sees the other, so a task pushed
  // before there was a waker is not forgotten. The waker must stay valid until set_waker(nullptr)
  // and until no thread can be inside push.
  void set_waker(Waker* waker) {
    waker_.store(waker, std::memory_order_seq_cst);
    if (waker != nullptr && !empty()) waker->wake();
  }
  void wake() {
    if (Waker* waker = waker_.load(std::memory_order_seq_cst)) waker->wake();
  }

 private:
  struct Node {
    Task task;
    Node* next;
  };
  std::atomic<Node*> head_{nullptr};
  std::atomic<Waker*> waker_{nullptr};
};

}  // namespace arenad::server
