// Attach marks: that somebody has an arena's memory still, which a later daemon can tell wherever
// that process lives.
//
// Purpose: a pidfd does not outlive the daemon, and a process in another PID namespace cannot be
// found again by its number. So
//   the description of the data file that a handoff gives away is one of its own, and carries a
//   lock (OFD, shared) on the byte whose offset is the session's id. The kernel keeps it as long as
//   a descriptor or a mapping of that description does.
// Invariants: no lock, nobody has the memory, or can get it: the session may be reaped. A lock may
// stand longer than the
//   session's process (a child that has inherited the descriptor): then the session is kept longer,
//   never shorter. A hostile process can keep sessions of an arena alive so, or give up its own;
//   nothing else.
// Threads: any. Crash: the kernel's, see above; the daemon's own descriptions carry no locks.
#pragma once

#include "allocator/format/ids.h"

namespace arenad::server {

// On a description that nobody else has yet. False with errno when the kernel refuses.
bool set_attach_mark(int data_fd, SessionId session);
// Whether any description of that file, other than `data_fd`'s, carries the session's mark. True
// when it cannot be told.
bool has_attach_mark(int data_fd, SessionId session);

}  // namespace arenad::server
