// SpscRing: passes handles from one thread or process to one other.
//
// Purpose: the way between producer and consumer. It costs about 5 ns an item, so a run measures
//   the allocators. It has no pointers, so it may lie in shared memory at any address.
// Invariants: tail - head <= kCapacity. Slots [head, tail) are full. Each index has one writer.
//   RingProducer and RingConsumer remember the other side's index, and look again only when the
//   remembered index no longer suffices. Items are sent in groups of kGroup, which are whole cache
//   lines. With one index store per item the ring alone takes 20 ns an item between far cores.
// Threads: one RingProducer and one RingConsumer at a time. The producer stores `tail` with
//   release; the consumer loads it with acquire. The consumer stores `head` with release; the
//   producer loads it with acquire. The producer stores `closed` with release after the last
//   `tail`; finished() loads it with acquire.
// Crash: a producer that dies between the slot and the tail has sent nothing. A producer that dies
//   before close() leaves the ring open.
#pragma once

#include <sched.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "allocator/base/cpu_pause.h"

namespace arenad::load {

// Spins politely: pauses, and yields the processor when the other side seems not to run.
class Backoff {
 public:
  void wait() {
    if (++spins_ % 1024 == 0)
      sched_yield();
    else
      cpu_pause();
  }
  std::uint32_t spins() const { return spins_; }
  void reset() { spins_ = 0; }

 private:
  std::uint32_t spins_ = 0;
};

template <class T, std::size_t Capacity = 4096>
struct SpscRing {
  static_assert(std::is_trivially_copyable_v<T> && (Capacity & (Capacity - 1)) == 0);
  static constexpr std::uint64_t kCapacity = Capacity;
  static constexpr std::uint64_t kMask = Capacity - 1;
  static constexpr std::uint64_t kGroup = 64;
  static_assert(Capacity >= 4 * kGroup);

  alignas(128) std::atomic<std::uint64_t> head{0};  // written by the consumer
  alignas(128) std::atomic<std::uint64_t> tail{0};  // written by the producer
  alignas(128) std::atomic<bool> closed{false};     // written once, by the producer
  alignas(128) T slots[Capacity];
};

template <class Ring>
class RingProducer {
 public:
  explicit RingProducer(Ring& ring)
      : ring_(ring), tail_(ring.tail.load(std::memory_order_relaxed)) {}

  // Returns false when the ring is full. Everything that was pushed before is sent then.
  template <class T>
  bool try_push(T value) {
    if (tail_ - head_ == Ring::kCapacity) {
      head_ = ring_.head.load(std::memory_order_acquire);
      if (tail_ - head_ == Ring::kCapacity) {
        publish();
        return false;
      }
    }
    ring_.slots[tail_ & Ring::kMask] = value;
    if (++tail_ % Ring::kGroup == 0) publish();
    return true;
  }

  // True while fewer than `window` of the pushed items wait for the consumer.
  bool has_room(std::uint64_t window) {
    if (tail_ - head_ < window) return true;
    head_ = ring_.head.load(std::memory_order_acquire);
    return tail_ - head_ < window;
  }

  // Sends an unfinished group. Call it before waiting for anything.
  void publish() { ring_.tail.store(tail_, std::memory_order_release); }

  // Says that no more items follow.
  void close() {
    publish();
    ring_.closed.store(true, std::memory_order_release);
  }

 private:
  Ring& ring_;
  std::uint64_t tail_;
  std::uint64_t head_ = 0;  // as last seen; never ahead of the truth
};

template <class Ring>
class RingConsumer {
 public:
  explicit RingConsumer(Ring& ring)
      : ring_(ring), head_(ring.head.load(std::memory_order_relaxed)), tail_(head_) {}

  // Calls f(value) for up to `limit` items and returns their number. The slots become free once, at
  // the end.
  template <class F>
  std::size_t consume(std::size_t limit, F&& f) {
    if (head_ == tail_) {
      tail_ = ring_.tail.load(std::memory_order_acquire);
      if (head_ == tail_) return 0;
    }
    const std::uint64_t end = tail_ - head_ < limit ? tail_ : head_ + limit;
    const auto count = static_cast<std::size_t>(end - head_);
    for (; head_ != end; ++head_) f(ring_.slots[head_ & Ring::kMask]);
    ring_.head.store(head_, std::memory_order_release);
    return count;
  }

  // True when the ring is empty for good.
  bool finished() const {
    return ring_.closed.load(std::memory_order_acquire) &&
           ring_.tail.load(std::memory_order_acquire) == head_;
  }

 private:
  Ring& ring_;
  std::uint64_t head_;
  std::uint64_t tail_;  // as last seen; never ahead of the truth
};

}  // namespace arenad::load
