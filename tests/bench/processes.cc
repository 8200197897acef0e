#include "tests/bench/processes.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <memory>
#include <new>
#include <stdexcept>
#include <thread>
#include <vector>

namespace arenad::bench {
namespace {

constexpr auto kStartWithin = std::chrono::seconds(20);

struct UnmapBoard {
  void operator()(Board* board) const { ::munmap(board, sizeof(Board)); }
};

std::unique_ptr<Board, UnmapBoard> make_board() {
  void* memory =
      ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("no memory for the processes' board");
  return std::unique_ptr<Board, UnmapBoard>(new (memory) Board());
}

// Processor time of each process; a peer's other threads sleep.
std::vector<std::chrono::nanoseconds> process_times(const std::array<pid_t, 2>& pids) {
  std::vector<std::chrono::nanoseconds> times;
  for (const pid_t pid : pids) {
    clockid_t clock{};
    times.push_back(::clock_getcpuclockid(pid, &clock) == 0 ? load::thread_time(clock)
                                                            : std::chrono::nanoseconds(0));
  }
  return times;
}

}  // namespace

pid_t start_child(const std::function<void()>& body) {
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) throw std::runtime_error("fork failed");
  if (pid > 0) return pid;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  try {
    body();
    std::fflush(stdout);
    ::_exit(0);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "a process of the benchmark: %s\n", e.what());
    ::_exit(1);
  }
}

bool ended_well(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void run_in_child(const std::function<void()>& body, const char* failure) {
  if (!ended_well(start_child(body))) throw std::runtime_error(failure);
}

void wait_until(const std::atomic<std::uint32_t>& count, std::uint32_t wanted) {
  const auto deadline = std::chrono::steady_clock::now() + kStartWithin;
  while (count.load(std::memory_order_acquire) < wanted) {
    if (std::chrono::steady_clock::now() > deadline)
      throw std::runtime_error("the other process is not there after 20 s");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

TwoProcesses measure_processes(const std::function<void(Board&, int)>& life,
                               const load::MeasureFor& times) {
  const auto shared = make_board();
  Board& board = *shared;
  std::array<pid_t, 2> pids{};
  for (int me = 0; me < 2; ++me)
    pids[me] = start_child([&] {
      try {
        life(board, me);
      } catch (...) {
        board.stop.request();
        throw;
      }
    });
  const auto operations = [&] { return board.progress[0].get() + board.progress[1].get(); };
  const auto start_by = std::chrono::steady_clock::now() + kStartWithin;
  while (operations() == 0 && !board.stop.is_requested() &&
         std::chrono::steady_clock::now() < start_by)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  TwoProcesses measured;
  measured.ns_per_op = load::median_window(
      operations, [&] { return process_times(pids); }, board.stop, times);
  board.stop.request();
  bool good = true;
  for (const pid_t pid : pids) good &= ended_well(pid);
  if (!good) throw std::runtime_error("one of the two processes failed");
  const auto calls = static_cast<double>(board.calls[0].load() + board.calls[1].load());
  measured.calls_per_op = operations() == 0 ? 0 : calls / static_cast<double>(operations());
  return measured;
}

}  // namespace arenad::bench
