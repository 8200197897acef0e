#include "server/core/handoff/caller_process.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "allocator/base/format.h"
#include "server/core/api/text.h"

namespace arenad::server {
namespace {

constexpr int kSoPeerPidfd = 77;          // newer than Debian 12's headers
constexpr long kPidfsMagic = 0x50494446;  // the same

std::vector<std::uint32_t> peer_groups(int socket) {
  std::vector<gid_t> groups(64);
  auto bytes = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &bytes) != 0) {
    if (errno != ERANGE) return {};
    groups.resize(bytes / sizeof(gid_t));  // the kernel said how many
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &bytes) != 0) return {};
  }
  groups.resize(bytes / sizeof(gid_t));
  return {groups.begin(), groups.end()};
}

Failure out_of_descriptors() {
  return {
      Error::kMachineFull,
      "the daemon has no file descriptor left: close sessions, or raise its limit (LimitNOFILE of "
      "its unit, ulimit -n)"};
}

}  // namespace

std::uint64_t pidfs_inode(int pidfd) {
  struct statfs fs;
  struct stat st;
  if (::fstatfs(pidfd, &fs) != 0 || fs.f_type != kPidfsMagic || ::fstat(pidfd, &st) != 0) return 0;
  return st.st_ino;
}

Answer<CallerProcess> connected_process(int socket) {
  CallerProcess peer;
  ucred cred{};
  socklen_t bytes = sizeof cred;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &cred, &bytes) != 0) {
    return refuse(Error::kNotPermitted, fmt::format("SO_PEERCRED: {}", std::strerror(errno)));
  }
  peer.pid = cred.pid;
  peer.uid = cred.uid;
  peer.gid = cred.gid;
  peer.groups = peer_groups(socket);

  int fd = -1;
  bytes = sizeof fd;
  const bool knows_pidfd =
      ::getsockopt(socket, SOL_SOCKET, kSoPeerPidfd, &fd, &bytes) == 0 || errno != ENOPROTOOPT;
  if (!knows_pidfd && peer.pid > 0) fd = static_cast<int>(::syscall(SYS_pidfd_open, peer.pid, 0));
  if (fd >= 0) {
    peer.pidfd = UniqueFd(fd);
  } else if (errno == EMFILE || errno == ENFILE) {
    return out_of_descriptors();
  } else if (knows_pidfd || (peer.pid > 0 && errno == ESRCH)) {
    return Failure{Error::kNotPermitted,
                   fmt::format("the process that connected is gone: {}", std::strerror(errno))};
  }
  peer.identity = {peer.pidfd ? pidfs_inode(peer.pidfd.get()) : 0, peer.pid};
  return peer;
}

Answer<CallerProcess> peer_process(int socket) {
  auto peer = connected_process(socket);
  if (!peer.ok() || peer->pidfd) return peer;
  if (peer->pid > 0)
    return Failure{Error::kNotPermitted,
                   fmt::format("the kernel gives no pidfd of process {}: allow the daemon the "
                               "system call pidfd_open",
                               peer->pid)};
  return Failure{Error::kNotPermitted,
                 "this kernel cannot name a process of another PID namespace: run Linux 6.5 or "
                 "later, or share the PID namespace with the daemon"};
}

}  // namespace arenad::server
