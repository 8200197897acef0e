// larson: threads of a server. Each thread has a set of live blocks of mixed sizes, and takes over
// another thread's set from time to time.
//
// Purpose: each thread replaces random blocks of its set (16 to 1024 B, kLarsonSlots blocks). After
//   kLarsonRound operations the thread leaves its set in a mailbox and takes the set that lies
//   there. So about a tenth of all frees are of another thread's blocks.
// Invariants: there is one set more than threads. A set belongs to one thread or lies in the
//   mailbox. Sets are known by number, not by address, so Larson may lie in shared memory.
// Threads: one thread calls prepare() and finish() while no body runs. Each thread calls run(). The
//   mailbox is one atomic exchange (acq_rel): what the giver wrote pairs with what the taker reads.
// Crash: the blocks of a set stay held by the session that allocated them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "client/load/kernels/churn.h"
#include "client/load/kernels/context.h"
#include "client/load/kernels/progress.h"
#include "client/load/kernels/random.h"

namespace arenad::load {

inline constexpr std::uint32_t kLarsonSlots = 1000;
inline constexpr std::uint32_t kLarsonRound = 10'000;

template <class Handle, std::uint32_t MaxThreads = 2>
struct Larson {
  // Fills all sets and puts the last one into the mailbox.
  template <AllocatorContext C>
  void prepare(C& context, std::uint32_t threads, std::uint64_t seed) {
    Random random(seed);
    for (std::uint32_t set = 0; set <= threads; ++set)
      fill_random(context, sets[set], kLarsonSlots, random);
    for (std::uint32_t thread = 0; thread < threads; ++thread) owned[thread] = thread;
    mailbox.store(threads, std::memory_order_release);
    context.flush();
  }

  // The body of thread `thread`, until stop is requested.
  template <AllocatorContext C>
  void run(C& context, std::uint32_t thread, std::uint64_t seed, Progress& progress,
           const Stop& stop) {
    Random random(seed);
    while (!stop.is_requested()) {
      Handle* handles = sets[owned[thread]];
      for (std::uint32_t i = 0; i < kLarsonRound; ++i)
        replace_random(context, handles, kLarsonSlots, random);
      context.flush();
      progress.add(kLarsonRound);
      owned[thread] = mailbox.exchange(owned[thread], std::memory_order_acq_rel);
    }
  }

  // Frees all sets.
  template <AllocatorContext C>
  void finish(C& context, std::uint32_t threads) {
    for (std::uint32_t set = 0; set <= threads; ++set)
      for (Handle handle : sets[set]) context.free(handle);
    context.flush();
  }

  alignas(128) std::atomic<std::uint32_t> mailbox{0};
  std::uint32_t owned[MaxThreads] = {};
  alignas(128) Handle sets[MaxThreads + 1][kLarsonSlots];
};

}  // namespace arenad::load
