// Run-time toggles of the allocator, under the predecessor's names
// (allocator/README.md).
//
//   HAKMEM_TINY_P0_ENABLE    batch refill on when unset or not "0"
//   HAKMEM_TINY_P0_DISABLE   kill switch: set and not "0" wins over everything, also SetTunables
//   HAKMEM_TINY_P0_NO_DRAIN  refill skips the drain; the idle drain, or a heap that would fail,
//                            takes the blocks
//   HAKMEM_TINY_P0_LOG       a line per refill, rate limited
//   ARENAD_GUARDS_PRIVATE    guards for private state, which abort with the line; off by default
//
// Threads: atomics, relaxed: a change is seen by each heap's next refill. Crash: nothing is shared.
#pragma once

#include <atomic>

#include "export.h"

namespace arenad {

struct ARENAD_API Tunables {
  std::atomic<bool> p0_enable{true};
  std::atomic<bool> p0_no_drain{false};
  std::atomic<bool> p0_log{false};
  std::atomic<bool> guards_private{false};
  bool p0_disable = false;  // fixed at start

  bool p0_active() const { return !p0_disable && p0_enable.load(std::memory_order_relaxed); }
  void load_environment();  // what the constructor of the one instance does; tests call it again
};

ARENAD_API Tunables& tunables();

// True when this build refills in batches (CMake option HAKMEM_TINY_P0_BATCH_REFILL).
ARENAD_API bool p0_batch_refill_built();

}  // namespace arenad
