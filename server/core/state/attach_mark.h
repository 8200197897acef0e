// Attach marks: they tell the daemon, and a later one, that somebody has the memory of an arena,
// wherever that process lives.
//
// Purpose: a process may leave its session and live on, as exec does, and a pidfd tells nothing of
// that. Nor does a pidfd outlive the daemon, and a process in another PID namespace cannot be
// found again by its number. So a handoff gives away an open file description of its own, and that
// description carries a lock (OFD, shared) on the byte whose offset is the session's id. The kernel
// keeps the lock as long as a descriptor or a mapping of the description exists.
// Invariants: where there is no lock, nobody has the memory or can get it: the session may be
// reaped. A lock may outlive the session's process, because a child may have inherited the
// descriptor. Then the session is kept longer, never shorter. A hostile process can so keep
// sessions of an arena alive, or give up its own; it can do nothing else.
// Threads: any.
// Crash: the kernel's locks, see above. The daemon's own descriptions carry none.
#pragma once

#include "allocator/format/ids.h"

namespace arenad::server {

// Sets the mark on a description that nobody else has yet. False, with errno, when the kernel
// refuses.
bool set_attach_mark(int data_fd, SessionId session);
// Whether a description of that file, other than `data_fd`'s own, carries the session's mark. True
// when that cannot be told.
bool has_attach_mark(int data_fd, SessionId session);
// The same for the marks of all sessions.
bool has_attach_marks(int data_fd);

}  // namespace arenad::server
