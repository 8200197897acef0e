// chaos: random kills of peers, and of the daemon, and the proof that nothing was lost and nothing
// given to two.
//
// Purpose: starts a daemon of its own, forks peers, kills and replaces them, audits at the end.
// Invariants: this process speaks no gRPC before the last peer was forked; what it must know of
// peers it reads from the board. Threads: one until the audit. Crash: peers and daemon die with it.
#pragma once

#include "client/load/options.h"

namespace arenad::load {

// Runs it and prints the result. The exit code: kExitOk only when the kills were all done and
// nothing was lost, doubled or mismatched.
int run_chaos(const Options& options);

}  // namespace arenad::load
