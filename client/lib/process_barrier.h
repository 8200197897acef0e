// The barrier that other threads pass for one: membarrier(2). Private.
//
// Purpose: the lock of a peer's heap (arenad/peer_cache.h) rests on it. Linux has an expedited
//   barrier for one process since 4.14; older kernels have a slow one for the whole machine.
// Invariants: true means that every running thread of this process has passed a full barrier since
//   the call began. A seccomp profile may forbid the system call, also later. Then the answer is
//   false, and nothing may be concluded.
// Threads: any. Crash: nothing is shared.
#pragma once

namespace arenad::client {

// Whether the kernel lets this process do it. Asks once, at the first call.
bool can_barrier_everywhere();

[[nodiscard]] bool barrier_everywhere();

}  // namespace arenad::client
