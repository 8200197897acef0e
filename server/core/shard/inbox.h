// Inbox: how other threads hand work to the one thread that runs a shard.
//
// Purpose: a lock-free queue of closures with many producers and one consumer. It wakes its
// consumer when it was empty before.
// Invariants:
// * The head of the list says whether the consumer must be woken. The producer that turns the head
//   from empty to another value wakes the consumer. Nobody else does. So there is one wake-up for
//   each time that the consumer has taken all tasks.
// * The tasks of one producer run in the order in which they were pushed.
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
    // seq_cst: pairs with the exchange in run, and with empty() in set_waker.
    do {
      node->next = before;
    } while (!head_.compare_exchange_weak(before, node, std::memory_order_seq_cst,
                                          std::memory_order_relaxed));
    if (before == nullptr) wake();
  }

  // Runs the tasks that were pushed before the call. Returns how many they were. Tasks that are
  // pushed meanwhile wait for the next call, for which the waker was called.
  std::uint64_t run() {
    // acquire: pairs with the compare_exchange in push.
    Node* newest = head_.exchange(nullptr, std::memory_order_acquire);
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

  // seq_cst: see set_waker.
  bool empty() const { return head_.load(std::memory_order_seq_cst) == nullptr; }

  // The waker must stay valid until set_waker(nullptr) was called and no thread can be inside push.
  // seq_cst: set_waker stores the waker and then looks at the head. push stores the head and then
  // looks at the waker. So one of the two sees the other, and a task that was pushed before there
  // was a waker is not forgotten.
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
