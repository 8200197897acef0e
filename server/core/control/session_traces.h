// What the ledger and the control memory of an arena say about sessions.
//
// Purpose: StateRecovery asks which sessions an arena names, before any shard works in the arena.
// Invariants: control memory can name sessions that never were. Its table of sharers has 40 places.
// Threads: pure functions. Crash: reads only.
#pragma once

#include "allocator/arena/arena.h"
#include "allocator/arena/session_set.h"

namespace arenad::server {

// Every session that the arena's ledger or control memory names anywhere.
SessionSet sessions_named_in(const Arena& arena);

}  // namespace arenad::server
