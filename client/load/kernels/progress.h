// Progress and Stop: how a thread of a workload reports its progress, and how it learns that it
// must end.
//
// Invariants: `operations` only grows and has one writer, its thread.
// Threads: said at each member. Crash: plain numbers; they may lie in shared memory.
#pragma once

#include <atomic>
#include <cstdint>

namespace arenad::load {

// Operations of one thread. Relaxed on both sides, because the count orders nothing.
struct alignas(128) Progress {
  std::atomic<std::uint64_t> operations{0};

  void add(std::uint64_t count) {  // its thread
    operations.store(operations.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
  }
  std::uint64_t get() const { return operations.load(std::memory_order_relaxed); }  // anybody
};

// Set once, by the thread that ends the run or by a thread that failed. All threads read it.
// Relaxed on both sides, because it orders nothing.
struct alignas(128) Stop {
  std::atomic<bool> requested{false};

  void request() { requested.store(true, std::memory_order_relaxed); }
  bool is_requested() const { return requested.load(std::memory_order_relaxed); }
};

}  // namespace arenad::load
