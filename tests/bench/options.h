// What every program of the benchmark has: its options, its line of output, its two cores.
//
// Threads: any. Crash: nothing is shared.
#pragma once

#include <array>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "client/load/kernels/cores.h"
#include "client/load/kernels/measure.h"

namespace arenad::bench {

struct Options {
  std::string workload;
  std::uint64_t seed = 1;
  std::uint32_t churn_seconds = 10;  // of large_churn
  load::MeasureFor times;
};

struct NamedSize {
  const char* name;
  std::uint64_t bytes;
};

// --workload NAME --milliseconds N --warm-up-milliseconds N --seed N --churn-seconds N. Throws
// std::invalid_argument.
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
    else if (name == "--churn-seconds")
      options.churn_seconds = static_cast<std::uint32_t>(number(name, value));
    else
      throw std::invalid_argument("unknown option '" + std::string(name) +
                                  "'; there are --workload, --milliseconds, "
                                  "--warm-up-milliseconds, --seed, --churn-seconds");
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

}  // namespace arenad::bench
