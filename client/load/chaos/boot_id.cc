#include "client/load/chaos/boot_id.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace arenad::load::chaos {
namespace {

constexpr const char* kBootId = "/proc/sys/kernel/random/boot_id";

std::string failed(const char* what) { return std::string(what) + ": " + std::strerror(errno); }

}  // namespace

std::string enter_other_boot(const std::string& file) {
  if (::unshare(CLONE_NEWNS) != 0) return failed("a private mount namespace");
  // Without this the mount could be seen outside.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return failed("private mounts");
  if (::mount(file.c_str(), kBootId, nullptr, MS_BIND, nullptr) != 0)
    return failed("a mount over the boot id");
  return {};
}

std::string why_no_other_boot() {
  int ends[2];
  if (::pipe(ends) != 0) return failed("pipe");
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string why = enter_other_boot(kBootId);
    const auto written = ::write(ends[1], why.data(), why.size());
    ::_exit(written == static_cast<ssize_t>(why.size()) && why.empty() ? 0 : 1);
  }
  ::close(ends[1]);
  std::string why;
  char text[256];
  for (ssize_t n; child > 0 && (n = ::read(ends[0], text, sizeof text)) > 0;)
    why.append(text, static_cast<std::size_t>(n));
  ::close(ends[0]);
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child) return failed("fork");
  if (why.empty() && status != 0) why = "the child that tried it died";
  return why;
}

}  // namespace arenad::load::chaos
