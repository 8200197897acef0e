// The subject: arenad's peers. Processes that are attached to a running daemon and allocate from
// heaps of their own.
//
// The workloads of one thread run in this process; those of two run in two processes that it forks
// before it speaks gRPC, with the handles passed through rings in shared memory. Beside them
// growth, reap and metadata (peer_costs.h). More options than other subjects: --socket-dir DIR,
// --daemon-pid N.
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <new>

#include "tests/bench/peer_costs.h"
#include "tests/bench/peer_link.h"
#include "tests/bench/subject.h"

namespace {

using namespace arenad;
using bench::PeerLink;

// What the two processes of a workload and the one that measures share.
struct Board {
  std::atomic<std::uint32_t> ready, ended;
  load::Stop stop;
  std::array<load::Progress, 2> progress;
  std::array<load::SpscRing<std::uint64_t>, 2> rings;
};

using Body = void (*)(load::PeerContext&, Board&, int me);

void produce_or_consume(load::PeerContext& context, Board& board, int me) {
  if (me == 0)
    load::produce(context, board.rings[0], board.stop);
  else
    load::consume(context, board.rings[0], board.progress[1]);
}
void free_the_others(load::PeerContext& context, Board& board, int me) {
  load::exchange_blocks(context, board.rings[me], board.rings[1 - me], board.progress[me],
                        board.stop);
}
void own(load::PeerContext& context, Board& board, int me) {
  load::Pair pair(context);
  while (!board.stop.is_requested()) board.progress[me].add(pair.run(10'000));
  pair.finish();
}

void wait_until(const std::atomic<std::uint32_t>& count, std::uint32_t wanted) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (count.load(std::memory_order_acquire) < wanted) {
    if (std::chrono::steady_clock::now() > deadline)
      throw std::runtime_error("the other process is not there after 20 s");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

// The life of one of the two processes. Its session closes when both have freed everything.
void be_a_peer(const bench::PeerOptions& options, Body body, Board& board, int me, int core) {
  PeerLink link(options);
  std::exception_ptr failure;
  std::thread worker([&] {
    try {
      load::pin_to_core(core);
      load::PeerContext context(link.arena());
      board.ready.fetch_add(1);
      wait_until(board.ready, 2);
      body(context, board, me);
    } catch (...) {
      failure = std::current_exception();
    }
  });
  worker.join();
  if (failure) std::rethrow_exception(failure);
  board.ended.fetch_add(1);
  wait_until(board.ended, 2);
  link.close();
}

// Two processes of `body`, measured from outside. Wall ns per operation of both together.
double measure_processes(const bench::PeerOptions& options, Body body, std::array<int, 2> cores) {
  void* memory =
      ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("no memory for the processes' board");
  Board& board = *new (memory) Board();
  const pid_t parent = ::getpid();
  std::array<pid_t, 2> pids{};
  for (int me = 0; me < 2; ++me) {
    pids[me] = ::fork();
    if (pids[me] < 0) throw std::runtime_error("fork failed");
    if (pids[me] != 0) continue;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    try {
      be_a_peer(options, body, board, me, cores[me]);
      ::_exit(0);
    } catch (const std::exception& e) {
      std::fprintf(stderr, "bench_peer: %s\n", e.what());
      board.stop.request();
      ::_exit(1);
    }
  }
  const auto operations = [&] { return board.progress[0].get() + board.progress[1].get(); };
  const auto ran = [&] {  // processor time of each; a peer's other threads sleep
    std::vector<std::chrono::nanoseconds> times;
    for (const pid_t pid : pids) {
      clockid_t clock{};
      times.push_back(::clock_getcpuclockid(pid, &clock) == 0 ? load::thread_time(clock)
                                                              : std::chrono::nanoseconds(0));
    }
    return times;
  };
  const auto start_by = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (operations() == 0 && !board.stop.is_requested() &&
         std::chrono::steady_clock::now() < start_by)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const double ns = load::median_window(operations, ran, board.stop, options.common.times);
  board.stop.request();
  bool failed = false;
  for (const pid_t pid : pids) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    failed |= !WIFEXITED(status) || WEXITSTATUS(status) != 0;
  }
  ::munmap(memory, sizeof(Board));
  if (failed) throw std::runtime_error("one of the two processes failed");
  return ns;
}

Body body_of(std::string_view workload) {
  if (workload == "producer_consumer") return produce_or_consume;
  if (workload == "xmalloc") return free_the_others;
  if (workload == "own") return own;
  return nullptr;
}

void run(const bench::PeerOptions& options) {
  const std::string& workload = options.common.workload;
  const std::array<int, 2> cores = bench::two_cores();
  if (workload == "growth") return bench::measure_growth(options);
  if (workload == "reap") return bench::measure_reap(options);
  if (workload == "metadata") return bench::measure_metadata(options);
  if (const Body body = body_of(workload)) {
    const double before = load::one_way_ns(cores[0], cores[1]);
    const double ns = measure_processes(options, body, cores);
    return bench::print_figure(workload, "ns_per_op", ns,
                               (before + load::one_way_ns(cores[0], cores[1])) / 2);
  }
  PeerLink link(options);
  load::pin_to_core(cores[0]);  // the library's threads began before, and stay free
  load::PeerContext context(link.arena());
  const double ns = bench::measure_single(context, options.common);
  if (ns < 0) throw std::invalid_argument("unknown workload '" + workload + "'");
  link.close();
  bench::print_figure(workload, "ns_per_op", ns);
}

}  // namespace

int main(int argc, char** argv) {
  ::setenv("GRPC_POLL_STRATEGY", "poll", 0);
  try {
    run(bench::parse_peer_options(argc, argv));
    return 0;
  } catch (const std::invalid_argument& e) {
    std::fprintf(stderr, "bench_peer: %s\n", e.what());
    return 2;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bench_peer: %s\n", e.what());
    return 1;
  }
}
