// The main program of a benchmark subject: one workload, one figure, one line of JSON.
//
// Purpose: every subject is a program of its own, because which malloc a program has is decided
//   when it is linked. They differ in the Subject type alone; `tests/bench/run` starts them in
//   turn.
// A Subject has: `Context` (an AllocatorContext), a constructor from the number of threads,
//   `Context& context(thread)`. A subject whose Context is a LargeContext has the workloads of
//   large blocks too. `kAcrossProcesses` says that forked processes share its blocks.
// Threads: a context is used by one thread at a time. Crash: nothing outlives the process.
#pragma once

#include <array>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "client/load/kernels/batch.h"
#include "client/load/kernels/churn.h"
#include "client/load/kernels/larson.h"
#include "client/load/kernels/measure.h"
#include "client/load/kernels/pair.h"
#include "client/load/kernels/producer_consumer.h"
#include "client/load/kernels/xmalloc.h"
#include "tests/bench/breathing.h"
#include "tests/bench/large.h"
#include "tests/bench/options.h"
#include "tests/bench/processes.h"

namespace arenad::bench {

inline constexpr std::uint32_t kSeedBlocks =
    100'000;  // the run of the predecessor: one thread, 100,000 x 256 B

template <class Kernel>
double measure_and_finish(Kernel kernel, const Options& options) {
  const double ns = load::measure_here(kernel, options.times);
  kernel.finish();
  return ns;
}

// The workloads of one thread, on the first core. Returns ns per operation, or below 0 when the
// name is not one of them.
template <load::AllocatorContext C>
double measure_single(C& context, const Options& options) {
  const std::string_view w = options.workload;
  if (w == "pair") return measure_and_finish(load::Pair(context), options);
  if (w == "batch") return measure_and_finish(load::Batch(context), options);
  if (w == "shuffled") return measure_and_finish(load::Shuffled(context, options.seed), options);
  if (w == "churn") return measure_and_finish(load::Churn(context, options.seed), options);
  if (w == "seed") return measure_and_finish(load::Batch(context, kSeedBlocks), options);
  return -1;
}

// The workloads of two threads, one context and one core each. Returns wall ns per operation of
// both together, or below 0.
template <class Subject>
double measure_two(Subject& subject, const Options& options, std::array<int, 2> cores) {
  using Handle = typename Subject::Context::Handle;
  using Ring = load::SpscRing<Handle>;
  auto& a = subject.context(0);
  auto& b = subject.context(1);
  std::array<load::Progress, 2> progress;
  load::Stop stop;
  const auto measure = [&](std::function<void()> first, std::function<void()> second) {
    const std::array<load::ThreadBody, 2> bodies{
        {{cores[0], std::move(first)}, {cores[1], std::move(second)}}};
    return load::measure_threads(bodies, progress, stop, options.times);
  };

  const std::string_view w = options.workload;
  if (w == "producer_consumer") {
    const auto ring = std::make_unique<Ring>();
    return measure([&] { load::produce(a, *ring, stop); },
                   [&] { load::consume(b, *ring, progress[1]); });
  }
  if (w == "xmalloc") {
    const auto to_b = std::make_unique<Ring>(), to_a = std::make_unique<Ring>();
    return measure([&] { load::exchange_blocks(a, *to_b, *to_a, progress[0], stop); },
                   [&] { load::exchange_blocks(b, *to_a, *to_b, progress[1], stop); });
  }
  if (w == "larson") {
    const auto larson = std::make_unique<load::Larson<Handle>>();
    larson->prepare(a, 2, options.seed);
    const double ns = measure([&] { larson->run(a, 0, options.seed + 1, progress[0], stop); },
                              [&] { larson->run(b, 1, options.seed + 2, progress[1], stop); });
    larson->finish(a, 2);
    return ns;
  }
  if (w == "own") {
    const auto own = [&](auto& context, load::Progress& p) {
      load::Pair pair(context);
      while (!stop.is_requested()) p.add(pair.run(10'000));
      pair.finish();
    };
    return measure([&] { own(a, progress[0]); }, [&] { own(b, progress[1]); });
  }
  return -1;
}

template <class Subject>
concept LargeSubject = load::LargeContext<typename Subject::Context>;
template <class Subject>
concept SubjectOfProcesses = LargeSubject<Subject> && Subject::kAcrossProcesses;

template <LargeSubject Subject>
double large_handoff_ns(Subject& subject, std::uint64_t block_bytes, const Options& options,
                        std::array<int, 2> cores) {
  if constexpr (SubjectOfProcesses<Subject>) {
    const auto life = [&](Board& board, int me) {
      load::pin_to_core(cores[me]);
      board.ready.fetch_add(1);
      wait_until(board.ready, 2);
      large_handoff_side(me, subject.context(me), board.rings[0], board.progress[me], board.stop,
                         block_bytes);
    };
    return measure_processes(life, options.times).ns_per_op;
  } else {
    const auto ring = std::make_unique<load::SpscRing<typename Subject::Context::Handle>>();
    std::array<load::Progress, 2> progress;
    load::Stop stop;
    const auto side = [&](int me) {
      return load::ThreadBody{cores[me], [&, me] {
                                large_handoff_side(me, subject.context(me), *ring, progress[me],
                                                   stop, block_bytes);
                              }};
    };
    const std::array<load::ThreadBody, 2> bodies{side(0), side(1)};
    return load::measure_threads(bodies, progress, stop, options.times);
  }
}

// Each size in a process of its own, because the subject must start from nothing.
template <LargeSubject Subject>
void measure_growth_in_children(std::array<int, 2> cores) {
  for (const NamedSize& size : kLargeSizes)
    run_in_child(
        [&] {
          load::pin_to_core(cores[0]);
          Subject subject(1);
          measure_large_growth(subject.context(0), size, {});
        },
        "large_growth failed");
}

// The workloads of large blocks. False when the name is none of them.
template <LargeSubject Subject>
bool measure_large(const Options& options, std::array<int, 2> cores) {
  const std::string_view w = options.workload;
  if (w == "large_growth") return measure_growth_in_children<Subject>(cores), true;
  if (w == "large_handoff") {
    Subject subject(2);
    for (const NamedSize& size : kLargeSizes) {
      const double before = load::one_way_ns(cores[0], cores[1]);
      const double ns = large_handoff_ns(subject, size.bytes, options, cores);
      print_figure(std::string("large_handoff_") + size.name, "ns_per_op", ns,
                   (before + load::one_way_ns(cores[0], cores[1])) / 2);
    }
    return true;
  }
  if (w != "large_pair" && w != "large_rotation" && w != "large_churn") return false;
  Subject subject(1);
  load::pin_to_core(cores[0]);
  if (w == "large_pair") measure_large_pair(subject.context(0), options, {});
  if (w == "large_rotation") measure_large_rotation(subject.context(0), options, {});
  if (w == "large_churn") measure_large_churn(subject.context(0), options, {});
  return true;
}

// main() of a subject. Exit codes: 0 measured, 1 the run failed, 2 bad arguments.
template <class Subject>
int subject_main(int argc, char** argv) {
  try {
    const Options options = parse_options(argc, argv);
    const std::array<int, 2> cores = two_cores();
    if constexpr (LargeSubject<Subject>)
      if (measure_large<Subject>(options, cores)) return 0;
    Subject subject(2);
    if (options.workload == "breathing") {
      measure_breathing(subject.context(0), subject.context(1), options, cores, {});
      return 0;
    }
    const double before = load::one_way_ns(cores[0], cores[1]);
    if (const double two = measure_two(subject, options, cores); two >= 0) {
      const double after = load::one_way_ns(cores[0], cores[1]);
      print_figure(options.workload, "ns_per_op", two, (before + after) / 2);
      return 0;
    }
    load::pin_to_core(cores[0]);
    if (const double one = measure_single(subject.context(0), options); one >= 0) {
      print_figure(options.workload, "ns_per_op", one);
      return 0;
    }
    throw std::invalid_argument("unknown workload '" + options.workload + "'");
  } catch (const std::invalid_argument& e) {
    std::fprintf(stderr, "%s: %s\n", argv[0], e.what());
    return 2;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s: %s\n", argv[0], e.what());
    return 1;
  }
}

}  // namespace arenad::bench
