// Principal: who makes a call, and what they may do.
//
// Purpose: user, groups and process as the kernel tells them for a connection (SO_PEERCRED,
//   SO_PEERGROUPS), never as the client says. Rights to an arena are decided as open(2) decides for
//   a file with that owner, group and mode.
// Invariants: an administrator came over admin.sock, or is root where `root_is_admin` is set. A
//   caller over TCP is no user: it has what an arena gives to everybody.
// Threads: constant once it is shared. Crash: nothing is shared.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "server/core/api/facts.h"

namespace arenad::server {

struct Principal {
  static constexpr std::uint32_t kNoUser = UINT32_MAX;

  std::uint32_t uid = kNoUser;
  std::uint32_t gid = kNoUser;
  std::vector<std::uint32_t> groups;  // supplementary
  std::int32_t pid = 0;  // in the daemon's PID namespace; 0 when not visible from there
  bool is_admin = false;

  bool is_user() const { return uid != kNoUser; }
  bool in_group(std::uint32_t group) const;
  // An arena's owner, or an administrator.
  bool owns(const ArenaAccess& access) const {
    return is_admin || (is_user() && uid == access.uid);
  }
  bool may_read(const ArenaAccess& access) const { return may(access, 4); }
  bool may_write(const ArenaAccess& access) const { return may(access, 2); }
  // "uid 1000 (pid 77)"
  std::string text() const;

 private:
  bool may(const ArenaAccess& access, std::uint32_t want) const;
};

using Caller = std::shared_ptr<const Principal>;

// The daemon's own calls, for its configuration and its metrics: an administrator.
Caller daemon_itself();
// A caller of whom nothing is known: TCP.
Caller nobody();

}  // namespace arenad::server
