// chaos: kills peers and the daemon at random, and proves that nothing was lost or given twice.
//
// Purpose: starts a daemon of its own, forks peers, kills and replaces them, and audits at the end.
// Invariants: this process speaks no gRPC before it has forked the last peer. Until then it learns
//   about peers from the board.
// Threads: one until the audit. Crash: the peers and the daemon die with this process.
#pragma once

#include "client/load/options.h"

namespace arenad::load {

// Runs it and prints the result. Returns kExitOk when all kills were done and nothing was lost,
// doubled or mismatched.
int run_chaos(const Options& options);

}  // namespace arenad::load
