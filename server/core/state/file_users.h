// File users: whether another process has a file open, or has it mapped.
//
// Purpose: memory of a deleted arena is gone when its last user is. The attach marks do not tell
// that, because a hostile client may take its mark away. The kernel gives a write lease only for a
// file that nobody else has open; a mapping counts as open.
// Invariants: where there are no leases, the attach marks decide.
// Threads: any. Crash: the kernel ends a lease with its descriptor.
#pragma once

#include "allocator/base/unique_fd.h"

namespace arenad::server {

// A read-only description of the file of `fd`, for has_other_users(). Invalid when the kernel gives
// none.
UniqueFd watch_users(int fd);

// `watched` must be the only description of the file that this process has.
bool has_other_users(const UniqueFd& watched);

}  // namespace arenad::server
