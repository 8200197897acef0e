#include "tests/bench/peer_processes.h"

#include <exception>
#include <thread>

namespace arenad::bench {
namespace {

// The life of one of the two processes.
void be_a_peer(const PeerOptions& options, const PeerBody& body, Board& board, int me, int core) {
  PeerLink link(options);
  std::exception_ptr failure;
  std::thread worker([&] {
    try {
      load::pin_to_core(core);
      load::PeerContext context(link.arena());
      board.ready.fetch_add(1);
      wait_until(board.ready, 2);
      const std::uint64_t before = link.client().calls_made();
      body(context, board, me);
      board.calls[me].store(link.client().calls_made() - before);
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

}  // namespace

TwoProcesses measure_peers(const PeerOptions& options, const PeerBody& body,
                           std::array<int, 2> cores, const load::MeasureFor& times) {
  return measure_processes(
      [&](Board& board, int me) { be_a_peer(options, body, board, me, cores[me]); }, times);
}

}  // namespace arenad::bench
