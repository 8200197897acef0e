#include "server/core/state/process_mark.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

#include "allocator/base/format.h"
#include "server/core/api/text.h"

namespace arenad::server {
namespace {

std::string read_file(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char text[2048];
  const auto got = fd ? ::read(fd.get(), text, sizeof text) : -1;
  return got <= 0 ? std::string() : std::string(text, static_cast<std::size_t>(got));
}

// "6a1b…-…": the first and the second half of its 128 bits.
void read_boot_id(std::uint64_t (&boot)[2]) {
  std::string digits;
  for (const char c : read_file("/proc/sys/kernel/random/boot_id"))
    if (std::isxdigit(static_cast<unsigned char>(c))) digits += c;
  if (digits.size() != 32) return;
  boot[0] = std::strtoull(digits.substr(0, 16).c_str(), nullptr, 16);
  boot[1] = std::strtoull(digits.substr(16).c_str(), nullptr, 16);
}

bool is_same_boot(const ProcessMark& mark) {
  std::uint64_t boot[2] = {0, 0};
  read_boot_id(boot);
  return (boot[0] != 0 || boot[1] != 0) && boot[0] == mark.boot[0] && boot[1] == mark.boot[1];
}

std::uint64_t own_pid_namespace() {
  struct stat st;
  return ::stat("/proc/self/ns/pid", &st) == 0 ? st.st_ino : 0;
}

// Field 2, the name of the process, may hold anything. So the fields are counted from its closing
// parenthesis.
std::uint64_t start_time_of(std::int32_t pid) {
  const std::string stat = read_file(fmt::format("/proc/{}/stat", pid));
  std::size_t at = stat.rfind(')');
  for (int field = 3; at != std::string::npos && field <= 22; ++field) at = stat.find(' ', at + 1);
  return at == std::string::npos ? 0 : std::strtoull(stat.c_str() + at, nullptr, 10);
}

bool ended(int pidfd) {
  pollfd poll{pidfd, POLLIN, 0};
  return ::poll(&poll, 1, 0) != 0;
}

}  // namespace

ProcessMark mark_of(const CallerProcess& process) {
  ProcessMark mark;
  read_boot_id(mark.boot);
  mark.pid_namespace = own_pid_namespace();
  mark.pidfs_inode = process.identity.pidfs_inode;
  mark.pid = process.pid;
  if (process.pid > 0) mark.start_time = start_time_of(process.pid);
  // The process has ended meanwhile, and another process may have its pid by now.
  if (ended(process.pidfd.get())) mark.start_time = 0;
  return mark;
}

FoundProcess find_again(const ProcessMark& mark) {
  FoundProcess found;
  found.identity = {mark.pidfs_inode, mark.pid};
  if (!is_same_boot(mark)) return found;
  if (mark.pid <= 0 || mark.pid_namespace == 0 || mark.pid_namespace != own_pid_namespace())
    return found;
  found.pidfd = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, mark.pid, 0)));
  if (!found.pidfd) {
    if (errno == ESRCH) found.life = Life::kDead;
    return found;
  }
  // While the pidfd is open, no other process gets the pid, unless the process ends. The pidfd
  // tells that.
  const std::uint64_t inode = pidfs_inode(found.pidfd.get());
  const std::uint64_t start_time = start_time_of(mark.pid);
  if (ended(found.pidfd.get())) {
    found.life = Life::kDead;
  } else if (mark.pidfs_inode != 0 && inode != 0) {
    found.life = inode == mark.pidfs_inode ? Life::kAlive : Life::kDead;
  } else if (mark.start_time != 0 && start_time != 0) {
    found.life = start_time == mark.start_time ? Life::kAlive : Life::kDead;
  }
  if (found.life == Life::kAlive)
    found.identity = {inode, mark.pid};
  else
    found.pidfd = UniqueFd();
  return found;
}

}  // namespace arenad::server
