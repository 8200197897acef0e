#include "tests/bench/peer_large.h"

#include <string>

#include "tests/bench/breathing.h"
#include "tests/bench/large.h"
#include "tests/bench/peer_processes.h"

namespace arenad::bench {
namespace {

Calls calls_of(const PeerLink& link) {
  return [&link] { return link.client().calls_made(); };
}

void peer_handoff(const PeerOptions& options, std::array<int, 2> cores) {
  for (const NamedSize& size : kLargeSizes) {
    const PeerBody body = [&](load::PeerContext& context, Board& board, int me) {
      large_handoff_side(me, context, board.rings[0], board.progress[me], board.stop, size.bytes);
    };
    const double before = load::one_way_ns(cores[0], cores[1]);
    const TwoProcesses measured =
        measure_peers(options, body, cores, with_waits(options.common.times));
    const std::string row = std::string("large_handoff_") + size.name;
    print_figure(row, "ns_per_op", measured.ns_per_op,
                 (before + load::one_way_ns(cores[0], cores[1])) / 2);
    print_figure(row + "_calls", "calls_per_op", measured.calls_per_op);
  }
}

// Each size in an arena of its own, because the arena must start from nothing.
void peer_growth(const PeerOptions& options, std::array<int, 2> cores) {
  for (const NamedSize& size : kLargeSizes)
    run_in_child(
        [&] {
          const std::string arena = std::string("growth-") + size.name;
          PeerLink link(options, arena);
          load::pin_to_core(cores[0]);
          load::PeerContext context(link.arena());
          measure_large_growth(context, size, calls_of(link));
          if (const auto gone = link.client().delete_arena(arena, true); !gone.ok())
            throw std::runtime_error("delete the arena: " + gone.text());
        },
        "large_growth failed");
}

}  // namespace

bool measure_peer_large(const PeerOptions& options, std::array<int, 2> cores) {
  const std::string_view w = options.common.workload;
  if (w == "large_handoff") return peer_handoff(options, cores), true;
  if (w == "large_growth") return peer_growth(options, cores), true;
  const bool breathes = w == "breathing";
  if (!breathes && w != "large_pair" && w != "large_rotation" && w != "large_churn") return false;
  PeerLink link(options);
  load::PeerContext context(link.arena());
  const Calls calls = calls_of(link);
  if (breathes) {
    load::PeerContext second(link.arena());
    measure_breathing(context, second, options.common, cores, calls);
  } else {
    load::pin_to_core(cores[0]);  // the library's threads began before, and stay free
    if (w == "large_pair") measure_large_pair(context, options.common, calls);
    if (w == "large_rotation") measure_large_rotation(context, options.common, calls);
    if (w == "large_churn") measure_large_churn(context, options.common, calls);
  }
  link.close();
  return true;
}

}  // namespace arenad::bench
