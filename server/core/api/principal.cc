#include "server/core/api/principal.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

namespace arenad::server {

bool Principal::in_group(std::uint32_t group) const {
  return is_user() && (gid == group || std::ranges::find(groups, group) != groups.end());
}

bool Principal::may(const ArenaAccess& access, std::uint32_t want) const {
  if (is_admin) return true;
  if (is_user() && uid == access.uid) return (access.mode >> 6 & want) == want;
  if (in_group(access.gid)) return (access.mode >> 3 & want) == want;
  return (access.mode & want) == want;
}

std::string Principal::text() const {
  if (!is_user()) return "a TCP client";
  const std::string process = pid == 0 ? "of another PID namespace" : fmt::format("{}", pid);
  return fmt::format("uid {} (pid {})", uid, process);
}

Caller daemon_itself() {
  static const Caller itself =
      std::make_shared<const Principal>(Principal{::geteuid(), ::getegid(), {}, ::getpid(), true});
  return itself;
}

Caller nobody() {
  static const Caller unknown = std::make_shared<const Principal>();
  return unknown;
}

}  // namespace arenad::server
