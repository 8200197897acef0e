#include "tests/bench/peer_costs.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>

#include "tests/bench/processes.h"

namespace arenad::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;
constexpr std::uint64_t kSmall = 256;
constexpr std::uint64_t kSmallInGiB = kGiB / kSmall;
constexpr auto kDeadline = std::chrono::seconds(30);

double ms_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

// Nanoseconds for each 256 bytes of a fresh 1 GiB memfd: committed, then the first byte of each
// written.
double floor_ns() {
  const int fd = ::memfd_create("bench-floor", MFD_CLOEXEC);
  if (fd < 0 || ::ftruncate(fd, kGiB) != 0) throw std::runtime_error("no memfd for the floor");
  void* memory = ::mmap(nullptr, kGiB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("cannot map the floor's memfd");
  const auto begin = Clock::now();
  if (::fallocate(fd, 0, 0, kGiB) != 0) throw std::runtime_error("cannot commit 1 GiB");
  for (std::uint64_t at = 0; at < kGiB; at += kSmall)
    load::touch(static_cast<std::byte*>(memory) + at);
  const double ns = ms_since(begin) * 1e6 / static_cast<double>(kSmallInGiB);
  ::munmap(memory, kGiB);
  ::close(fd);
  return ns;
}

void reap_one(const PeerOptions& options, std::uint64_t blocks) {
  int ready[2];
  if (::pipe2(ready, O_CLOEXEC) != 0) throw std::runtime_error("pipe failed");
  const pid_t victim = start_child([&] {
    PeerLink link(options, "reap");
    load::PeerContext context(link.arena());
    for (std::uint64_t i = 0; i < blocks; ++i) context.allocate(kSmall);
    if (::write(ready[1], "", 1) != 1) throw std::runtime_error("nobody waits for the victim");
    for (;;) ::pause();
  });
  ::close(ready[1]);
  char byte;
  if (::read(ready[0], &byte, 1) != 1) throw std::runtime_error("the victim could not allocate");
  ::close(ready[0]);

  const auto client = must(client::Client::connect(options.socket_dir), "connect");
  const client::Admin admin(client);
  const auto held = [&] {
    const auto report = must(admin.audit("reap"), "audit");
    return report.arenas.at(0).exact ? report.arenas.at(0).held + report.arenas.at(0).returning
                                     : UINT64_MAX;
  };
  if (held() != blocks) throw std::runtime_error("the audit does not show the victim's blocks");
  const int process = static_cast<int>(::syscall(SYS_pidfd_open, victim, 0));
  if (process < 0) throw std::runtime_error("pidfd_open failed");
  ::kill(victim, SIGKILL);
  pollfd dead{process, POLLIN, 0};
  if (::poll(&dead, 1, 10'000) != 1) throw std::runtime_error("the victim does not die");
  const auto begin = Clock::now();
  while (held() != 0)
    if (Clock::now() - begin > kDeadline)
      throw std::runtime_error("the victim was not reaped within 30 s");
  print_figure("reap_" + std::to_string(blocks), "ms", ms_since(begin));
  ::close(process);
  ::waitpid(victim, nullptr, 0);
}

// Resident bytes of the daemon's memfd of that name.
std::uint64_t resident_bytes(std::int32_t daemon_pid, const std::string& name) {
  for (const auto& fd :
       std::filesystem::directory_iterator("/proc/" + std::to_string(daemon_pid) + "/fd")) {
    std::error_code gone;
    if (std::filesystem::read_symlink(fd.path(), gone).string().find("memfd:" + name + " ") ==
        std::string::npos)
      continue;
    struct stat file {};
    if (::stat(fd.path().c_str(), &file) == 0)
      return static_cast<std::uint64_t>(file.st_blocks) * 512;
  }
  throw std::runtime_error("the daemon has no memfd " + name + "; give its pid with --daemon-pid");
}

}  // namespace

void measure_growth(const PeerOptions& options) {
  print_figure("growth_floor", "ns_per_256B", floor_ns());
  PeerLink link(options, "growth",
                2 * kGiB);  // headers and what is leased ahead come on top of the blocks
  load::PeerContext context(link.arena());
  const std::uint64_t before = link.client().calls_made();
  const auto begin = Clock::now();
  for (std::uint64_t bytes = 0; bytes < kGiB; bytes += kSmall) context.allocate(kSmall);
  print_figure("growth", "ns_per_256B", ms_since(begin) * 1e6 / static_cast<double>(kSmallInGiB));
  print_figure("growth_calls", "calls", static_cast<double>(link.client().calls_made() - before));
}  // the session ends and gives the blocks back

void measure_reap(const PeerOptions& options) {
  for (const std::uint64_t blocks : {1'000'000, 1'000}) {
    const std::string failure = "the reap of " + std::to_string(blocks) + " blocks failed";
    // Its victim is forked before it speaks gRPC.
    run_in_child([&] { reap_one(options, blocks); }, failure.c_str());
  }
}

void measure_metadata(const PeerOptions& options) {
  for (const std::uint64_t size : {256, 1024, 4096, 65536}) {
    const std::string arena = "metadata-" + std::to_string(size);
    PeerLink link(options, arena, kGiB / 4);
    std::uint64_t blocks = 0;
    while (link.arena().try_allocate(size).ok()) ++blocks;
    print_figure(
        "metadata_" + std::to_string(size), "percent",
        100.0 * static_cast<double>(resident_bytes(options.daemon_pid, "arenad-control-" + arena)) /
            static_cast<double>(blocks * size));
    if (const auto gone = link.client().delete_arena(arena, true); !gone.ok())
      throw std::runtime_error("delete the arena: " + gone.text());
  }
}

}  // namespace arenad::bench
