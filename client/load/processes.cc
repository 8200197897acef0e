// handoff, xmalloc and frames: starts the worker processes, connects them, waits for them.
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <system_error>
#include <thread>
#include <utility>

#include "client/load/kernels/rotation.h"
#include "client/load/link.h"
#include "client/load/peer_process.h"
#include "client/load/process_worker.h"
#include "client/load/workloads.h"

namespace arenad::load {
namespace {

constexpr auto kEndWithin = std::chrono::seconds(20);

class Processes {
 public:
  ~Processes() {
    all_started();
    for (const pid_t pid : pids_) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
    }
  }
  // A socket pair: refs go from end 0 to end 1, acknowledgements back.
  std::array<int, 2> wire() {
    std::array<int, 2> ends;
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
      throw std::system_error(errno, std::generic_category(), "socketpair");
    return wires_.emplace_back(ends);
  }
  // The rings through which peers pass refs.
  int rings() {
    if (rings_fd_ < 0) rings_fd_ = make_rings();
    return rings_fd_;
  }
  void start(const Options& options, const std::string& arena, const ProcessRole& role) {
    pids_.push_back(start_worker(options, arena, role));
  }
  // Close these ends here too. Else nobody sees the end of a partner.
  void all_started() {
    for (const auto& wire : wires_)
      for (const int fd : wire) ::close(fd);
    wires_.clear();
    if (rings_fd_ >= 0) ::close(std::exchange(rings_fd_, -1));
  }
  // False when a process has ended before it was told to.
  bool alive() {
    for (const pid_t pid : pids_) {
      siginfo_t info{};
      if (::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
          info.si_pid == pid)
        return false;
    }
    return true;
  }
  // Waits for all processes and kills those that do not end. Returns what went wrong.
  std::string join() {
    std::string wrong;
    const auto deadline = std::chrono::steady_clock::now() + kEndWithin;
    for (const pid_t pid : pids_) {
      int status = 0;
      pid_t got;
      while ((got = ::waitpid(pid, &status, WNOHANG)) == 0 &&
             std::chrono::steady_clock::now() < deadline)
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
      if (got == 0) {
        ::kill(pid, SIGKILL);
        ::waitpid(pid, &status, 0);
        wrong = "a worker process did not end within 20 s";
      } else if (WIFSIGNALED(status)) {
        wrong = "a worker process was ended by signal " + std::to_string(WTERMSIG(status));
      } else if (WIFEXITED(status) && WEXITSTATUS(status) != 0 && wrong.empty()) {
        wrong = "a worker process ended with exit code " + std::to_string(WEXITSTATUS(status));
      }
    }
    pids_.clear();
    return wrong;
  }

 private:
  std::vector<std::array<int, 2>> wires_;
  int rings_fd_ = -1;
  std::vector<pid_t> pids_;
};

WorkloadResult run(const Options& options, const std::string& workload, std::uint32_t workers,
                   Tracks& tracks, Processes& processes) {
  processes.all_started();
  std::string wrong;
  const bool peers = options.mode == Mode::kPeer;
  const std::string unit =
      peers ? "block (mean of 10 ms)"
            : "message of " + std::to_string(options.batch) + " blocks, passed on to freed";
  WorkloadResult result = run_workers(
      options, workload, std::to_string(workers) + (peers ? " peers" : " procs"), unit, workers,
      tracks, [&] { return processes.alive(); }, [&] { wrong = processes.join(); });
  if (result.failure.empty()) result.failure = wrong;
  return result;
}

}  // namespace

WorkloadResult run_handoff(const Options& options, const std::string& arena, std::uint32_t pairs) {
  Tracks tracks;
  Processes processes;
  // Worker p produces through shard p, worker pairs + p consumes through the shard after it.
  for (std::uint32_t p = 0; p < pairs; ++p) {
    const int ring = static_cast<int>(p);
    if (options.mode == Mode::kPeer) {
      const ProcessRole producer{.index = 2 * p,
                                 .tracks_fd = tracks.fd(),
                                 .rings_fd = processes.rings(),
                                 .workers = 2 * pairs,
                                 .out_ring = ring};
      const ProcessRole consumer{.index = 2 * p + 1,
                                 .tracks_fd = tracks.fd(),
                                 .rings_fd = processes.rings(),
                                 .workers = 2 * pairs,
                                 .in_ring = ring};
      processes.start(options, arena, producer);
      processes.start(options, arena, consumer);
      continue;
    }
    const auto wire = processes.wire();
    processes.start(options, arena, {.index = p, .tracks_fd = tracks.fd(), .out_fd = wire[0]});
    const std::uint32_t consumer = pairs + p;
    Options other = options;  // its shard comes after the producer's
    if (other.shards.empty()) {
      const auto client = or_throw(client::Client::connect(options.socket), "connect");
      const auto count = static_cast<std::uint32_t>(client.topology().shards.size());
      if (count != 0) other.shards = {(p + 1) % count};
    } else {
      other.shards = {options.shards[(p + 1) % options.shards.size()]};
    }
    processes.start(other, arena, {.index = consumer, .tracks_fd = tracks.fd(), .in_fd = wire[1]});
  }
  return run(options, "handoff", 2 * pairs, tracks, processes);
}

WorkloadResult run_frame_handover(const Options& options, const std::string& arena) {
  Tracks tracks;
  Processes processes;
  ProcessRole role{.tracks_fd = tracks.fd(),
                   .rings_fd = processes.rings(),
                   .workers = 2,
                   .out_ring = 0,
                   .frames = kRotationBlocks};
  processes.start(options, arena, role);
  role.index = 1;
  role.in_ring = std::exchange(role.out_ring, -1);
  processes.start(options, arena, role);
  return run(options, "frames", 2, tracks, processes);
}

WorkloadResult run_xmalloc(const Options& options, const std::string& arena,
                           std::uint32_t workers) {
  Tracks tracks;
  Processes processes;
  if (options.mode == Mode::kPeer) {
    for (std::uint32_t i = 0; i < workers; ++i)
      processes.start(options, arena,
                      {.index = i,
                       .tracks_fd = tracks.fd(),
                       .rings_fd = processes.rings(),
                       .workers = workers,
                       .in_ring = static_cast<int>((i + workers - 1) % workers),
                       .out_ring = static_cast<int>(i)});
    return run(options, "xmalloc", workers, tracks, processes);
  }
  std::vector<std::array<int, 2>> wires;
  for (std::uint32_t i = 0; i < workers; ++i) wires.push_back(processes.wire());
  for (std::uint32_t i = 0; i < workers; ++i)  // a ring: i passes on to i + 1
    processes.start(options, arena,
                    {.index = i,
                     .tracks_fd = tracks.fd(),
                     .in_fd = wires[(i + workers - 1) % workers][1],
                     .out_fd = wires[i][0]});
  return run(options, "xmalloc", workers, tracks, processes);
}

}  // namespace arenad::load
