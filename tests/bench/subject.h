// The main program of a benchmark subject: one workload, one figure, one line of JSON.
//
// Purpose: every subject is a program of its own, because which malloc a program has is decided
//   when it is linked. They differ in the Subject type alone; `tests/bench/run` starts them in
//   turn.
// A Subject has: `Context` (an AllocatorContext), a constructor from the number of threads,
//   `Context& context(thread)`.
// Threads: a context is used by one thread at a time. Crash: nothing outlives the process.
#pragma once

#include <array>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstring>
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

namespace arenad::bench {

inline constexpr std::uint32_t kSeedBlocks =
    100'000;  // the run of the predecessor: one thread, 100,000 x 256 B

struct Options {
  std::string workload;
  std::uint64_t seed = 1;
  load::MeasureFor times;
};

// --workload NAME --milliseconds N --warm-up-milliseconds N --seed N. Throws std::invalid_argument.
inline Options parse_options(int argc, char** argv) {
  Options options;
  const auto number = [](std::string_view name, std::string_view text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size())
      throw std::invalid_argument(std::string(name) + " takes a number, not '" + std::string(text) +
                                  "'");
    return value;
  };
  for (int i = 1; i < argc; i += 2) {
    const std::string_view name = argv[i];
    if (i + 1 == argc) throw std::invalid_argument(std::string(name) + " needs a value");
    const std::string_view value = argv[i + 1];
    if (name == "--workload")
      options.workload = value;
    else if (name == "--milliseconds")
      options.times.total = std::chrono::milliseconds(number(name, value));
    else if (name == "--warm-up-milliseconds")
      options.times.warm_up = std::chrono::milliseconds(number(name, value));
    else if (name == "--seed")
      options.seed = number(name, value);
    else
      throw std::invalid_argument("unknown option '" + std::string(name) +
                                  "'; there are --workload, --milliseconds, "
                                  "--warm-up-milliseconds, --seed");
  }
  return options;
}

// One figure on standard output. `one_way_ns` is the cores' distance, below 0 for a workload of one
// thread.
inline void print_figure(std::string_view workload, std::string_view metric, double value,
                         double one_way_ns = -1) {
  std::printf("{\"workload\": \"%.*s\", \"metric\": \"%.*s\", \"value\": %.4f",
              static_cast<int>(workload.size()), workload.data(), static_cast<int>(metric.size()),
              metric.data(), value);
  if (one_way_ns >= 0) std::printf(", \"one_way_ns\": %.1f", one_way_ns);
  std::printf("}\n");
  std::fflush(stdout);
}

// Two cores for the workloads of two threads; the same one twice on a machine that has only one.
inline std::array<int, 2> two_cores() {
  const std::vector<int> cores = load::allowed_cores();
  return {cores.front(), cores[cores.size() > 1 ? 1 : 0]};
}

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

// main() of a subject. Exit codes: 0 measured, 1 the run failed, 2 bad arguments.
template <class Subject>
int subject_main(int argc, char** argv) {
  try {
    const Options options = parse_options(argc, argv);
    const std::array<int, 2> cores = two_cores();
    Subject subject(2);
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
