// Large blocks: the workloads large_pair, large_rotation, large_handoff, large_churn and
// large_growth, over any LargeContext.
//
// Purpose: prints a figure for each size, in wall time, with calls included. README.md says what
//   each figure means.
// Invariants: an arena of 1 GiB is enough: at most 512 MiB live.
// Threads: the context's; large_handoff uses two. Crash: as the subject.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "client/load/kernels/hand_over.h"
#include "client/load/kernels/large_churn.h"
#include "client/load/kernels/pair.h"
#include "client/load/kernels/rotation.h"
#include "tests/bench/options.h"
#include "tests/bench/wall_rounds.h"

namespace arenad::bench {

inline constexpr std::array<NamedSize, 5> kLargeSizes{{{"256KiB", std::uint64_t{256} << 10},
                                                       {"1MiB", std::uint64_t{1} << 20},
                                                       {"4MiB", std::uint64_t{4} << 20},
                                                       {"16MiB", std::uint64_t{16} << 20},
                                                       {"64MiB", std::uint64_t{64} << 20}}};
inline constexpr std::uint64_t kLargeLiveBytes = std::uint64_t{512} << 20;
inline constexpr std::uint64_t kPageBytes = 4096;

inline void print_calls(const std::string& row, const Calls& calls, double calls_per_op) {
  if (calls) print_figure(row + "_calls", "calls_per_op", calls_per_op);
}

template <load::LargeContext C>
void measure_large_pair(C& context, const Options& options, const Calls& calls) {
  for (const NamedSize& size : kLargeSizes) {
    load::Pair<C> pair(context, size.bytes);
    WallRounds rounds(pair, calls);
    rounds.warm_up(options.times);
    measure_rounds(options.times.total, rounds);
    pair.finish();
    const std::string row = std::string("large_pair_") + size.name;
    print_figure(row, "ns_per_op", rounds.ns_per_op());
    print_calls(row, calls, rounds.calls_per_op());
  }
}

// Memory of this process, as mmap gives it. The first writes make it resident.
class PlainMemory {
 public:
  explicit PlainMemory(std::size_t bytes)
      : bytes_(bytes),
        memory_(
            ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    if (memory_ == MAP_FAILED) throw std::runtime_error("no memory for the fixed buffers");
  }
  ~PlainMemory() { ::munmap(memory_, bytes_); }
  PlainMemory(const PlainMemory&) = delete;
  PlainMemory& operator=(const PlainMemory&) = delete;
  std::byte* data() const { return static_cast<std::byte*>(memory_); }

 private:
  std::size_t bytes_;
  void* memory_;
};

template <load::LargeContext C>
void measure_large_rotation(C& context, const Options& options, const Calls& calls) {
  for (const NamedSize& size : kLargeSizes) {
    const PlainMemory memory(load::kRotationBlocks * size.bytes);
    load::PlainRotation plain(memory.data(), size.bytes);
    load::Rotation<C> rotation(context, size.bytes);
    WallRounds rounds(rotation, calls);
    WallRounds plain_rounds(plain);
    rounds.warm_up(options.times);
    plain_rounds.warm_up(options.times);
    measure_rounds(options.times.total, rounds, plain_rounds);
    rotation.finish();
    const std::string row = std::string("large_rotation_") + size.name;
    print_figure(row, "ns_per_op", rounds.ns_per_op());
    print_figure(row + "_to_plain", "ratio", rounds.ns_per_op() / plain_rounds.ns_per_op());
    print_calls(row, calls, rounds.calls_per_op());
  }
}

// Blocks of this size that are on their way from producer to consumer, at most.
constexpr std::uint32_t handoff_window(std::uint64_t block_bytes) {
  return static_cast<std::uint32_t>(
      std::clamp<std::uint64_t>(kLargeLiveBytes / 2 / block_bytes, 4, 64));
}

// The body of a side of large_handoff: 0 produces, 1 consumes.
template <load::LargeContext C, class Ring>
void large_handoff_side(int side, C& context, Ring& ring, load::Progress& progress,
                        const load::Stop& stop, std::uint64_t block_bytes) {
  if (side == 0)
    load::hand_over(context, ring, stop, block_bytes, handoff_window(block_bytes),
                    [](auto, std::byte*) {});
  else
    load::take_over(context, ring, progress, [](auto, std::byte*) {});
}

// A side may wait for a call, so all windows count.
inline load::MeasureFor with_waits(load::MeasureFor times) {
  times.threads_spin = false;
  return times;
}

template <load::LargeContext C>
void measure_large_churn(C& context, const Options& options, const Calls& calls) {
  load::LargeChurn<C> churn(context, options.seed, kLargeLiveBytes);
  WallRounds rounds(churn, calls);
  rounds.warm_up(options.times);
  measure_rounds(std::chrono::seconds(options.churn_seconds), rounds);
  churn.finish();
  print_figure("large_churn", "ns_per_op", rounds.ns_per_op());
  print_figure("large_churn_failed", "percent_of_allocations",
               100.0 * static_cast<double>(churn.failed()) / static_cast<double>(churn.attempts()));
  print_calls("large_churn", calls, rounds.calls_per_op());
}

// From nothing to kLargeLiveBytes of such blocks, each page written. `context` is fresh.
template <load::LargeContext C>
void measure_large_growth(C& context, const NamedSize& size, const Calls& calls) {
  const std::uint64_t blocks = kLargeLiveBytes / size.bytes;
  const std::uint64_t before = calls ? calls() : 0;
  const auto begin = std::chrono::steady_clock::now();
  for (std::uint64_t i = 0; i < blocks; ++i) {
    std::byte* const data = context.allocate_placed(size.bytes).data;
    for (std::uint64_t at = 0; at < size.bytes; at += kPageBytes) load::touch(data + at);
  }
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begin;
  const std::string row = std::string("large_growth_") + size.name;
  constexpr std::uint64_t kPages = kLargeLiveBytes / kPageBytes;
  print_figure(row, "ns_per_op", took.count() / static_cast<double>(kPages));
  print_calls(row, calls,
              static_cast<double>((calls ? calls() : 0) - before) / static_cast<double>(blocks));
}

}  // namespace arenad::bench
