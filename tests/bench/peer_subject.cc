// The subject: arenad's peers. Processes that are attached to a running daemon and allocate from
// heaps of their own.
//
// The workloads of one thread run in this process; those of two run in two processes that it forks
// before it speaks gRPC, with the handles passed through rings in shared memory. Beside them
// growth, reap and metadata (peer_costs.h), and large blocks and breathing (peer_large.h). More
// options than other subjects: --socket-dir DIR, --daemon-pid N.
#include <cstdlib>

#include "tests/bench/peer_costs.h"
#include "tests/bench/peer_large.h"
#include "tests/bench/peer_link.h"
#include "tests/bench/peer_processes.h"
#include "tests/bench/subject.h"

namespace {

using namespace arenad;
using bench::Board;
using bench::PeerLink;

using Body = bench::PeerBody;

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
  if (bench::measure_peer_large(options, cores)) return;
  if (const Body body = body_of(workload)) {
    const double before = load::one_way_ns(cores[0], cores[1]);
    const double ns = bench::measure_peers(options, body, cores, options.common.times).ns_per_op;
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
