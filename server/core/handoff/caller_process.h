// CallerProcess: the process at the other end of a Unix socket's connection.
//
// Purpose: credentials (SO_PEERCRED, SO_PEERGROUPS) and a pidfd of the process that connected. They
// come from the kernel, never from what the client says. Also: whether two of them are the same
// process.
// Invariants: the pidfd is the caller's own. It comes from SO_PEERPIDFD (kernel 6.5 and later;
// works across PID namespaces), or else from pidfd_open of SO_PEERCRED's pid, where that pid is
// visible.
// Threads: values of one thread. Crash: descriptors close with the daemon.
#pragma once

#include <cstdint>

#include "allocator/base/unique_fd.h"
#include "server/core/api/api.h"
#include "server/core/api/principal.h"

namespace arenad::server {

// Tells processes apart while one of them is known to live: by the pidfd's inode on pidfs (kernel
// 6.9 and later), else by the pid in the daemon's namespace.
struct ProcessIdentity {
  std::uint64_t pidfs_inode = 0;
  std::int32_t pid = 0;
  bool known() const { return pidfs_inode != 0 || pid > 0; }
  bool same_process(const ProcessIdentity& o) const {
    if (pidfs_inode != 0 || o.pidfs_inode != 0) return pidfs_inode == o.pidfs_inode;
    return pid > 0 && pid == o.pid;
  }
  // Nothing tells them apart: kernels 6.5 to 6.8 give pidfds of processes in other PID namespaces,
  // and no inode of theirs.
  bool may_be_same_process(const ProcessIdentity& o) const {
    return same_process(o) || (!known() && !o.known());
  }
};

struct CallerProcess : Principal {
  UniqueFd pidfd;
  ProcessIdentity identity;
};

// The pidfd's inode on pidfs. It is different for each process since boot; 0 when the kernel is too
// old.
std::uint64_t pidfs_inode(int pidfd);

// Errors: kNotPermitted when the kernel gives no pidfd of the caller (it is too old, and the caller
// is in another PID namespace), or when the caller is gone; kMachineFull.
Answer<CallerProcess> peer_process(int socket);

// The same, but without a pidfd where the kernel cannot give one. Errors: kNotPermitted when the
// caller is gone; kMachineFull.
Answer<CallerProcess> connected_process(int socket);

}  // namespace arenad::server
