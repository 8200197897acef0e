// The subject: arenad in process. One heap per thread over a memfd arena, data and control mapped
// MAP_SHARED.
//
// Beside the workloads that all subjects have: `arena_sizes`, the same work in arenas of 16 MiB to
// 16 GiB; `heap_counts`, the same work spread over 1 to 16 heaps; and `debug_flags`, a pair in
// arenas with and without debug flags, zero and scrub. Their variants take turns round by round
// inside this process, so that drift of the machine hits all alike. The modes of batch refill are
// chosen through the environment, as everywhere (HAKMEM_TINY_P0_*).
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "allocator/arena/arena.h"
#include "allocator/check/verify.h"
#include "allocator/heap/heap.h"
#include "client/load/kernels/heap_context.h"
#include "tests/bench/subject.h"

namespace {

using namespace arenad;

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
constexpr Holder kHolder{SessionId{1}, 0};

std::unique_ptr<Arena> make_arena(std::uint64_t capacity_bytes, ArenaConfig options) {
  options.name = "bench";
  options.capacity_bytes = capacity_bytes;
  auto arena = Arena::create(options);
  if (!arena.ok()) throw std::runtime_error(arena.error().message);
  if (auto committed = (*arena)->commit_ahead(4); !committed.ok())
    throw std::runtime_error(error_advice(committed.error()));
  return std::move(*arena);
}

// An arena, some heaps of it, and the check at the end that nothing is held and every count agrees.
class HeapSubject {
 public:
  using Context = load::HeapContext;
  explicit HeapSubject(std::size_t heaps, std::uint64_t capacity_bytes = 1024 * kMiB,
                       ArenaConfig options = {})
      : arena_(make_arena(capacity_bytes, std::move(options))) {
    for (std::size_t i = 0; i < heaps; ++i) {
      heaps_.push_back(std::make_unique<Heap>(*arena_, HeapId{static_cast<std::uint16_t>(i)},
                                              kHolder.session()));
      contexts_.emplace_back(*heaps_.back(), kHolder);
    }
  }
  // Throws from no destructor: a benchmark whose arena is not exact is worth nothing, so it ends
  // the process.
  ~HeapSubject() {
    std::vector<const Heap*> heaps;
    for (auto& heap : heaps_) {
      heap->publish();
      heaps.push_back(heap.get());
    }
    for (auto& heap : heaps_) heap->trim();
    const VerifyReport report = verify(*arena_, heaps);
    if (report.exact() && report.held == 0 && report.returning == 0) return;
    std::fprintf(stderr,
                 "bench_arenad: the arena is not exact after the run: held %llu, returning %llu, "
                 "mismatches %llu%s%s\n",
                 static_cast<unsigned long long>(report.held),
                 static_cast<unsigned long long>(report.returning),
                 static_cast<unsigned long long>(report.mismatches),
                 report.findings.empty() ? "" : ": ",
                 report.findings.empty() ? "" : report.findings.front().c_str());
    std::_Exit(1);
  }
  HeapSubject(const HeapSubject&) = delete;
  HeapSubject& operator=(const HeapSubject&) = delete;

  Context& context(std::size_t heap) { return contexts_[heap]; }
  std::size_t heaps() const { return heaps_.size(); }

 private:
  std::unique_ptr<Arena> arena_;
  std::vector<std::unique_ptr<Heap>> heaps_;
  std::vector<Context> contexts_;
};

// A batch of blocks on each heap of a subject in turn; every batch fits a heap's magazine, so that
// heaps are compared and not how often magazines overflow.
class RoundRobin {
 public:
  explicit RoundRobin(HeapSubject& subject) {
    for (std::size_t i = 0; i < subject.heaps(); ++i)
      batches_.emplace_back(subject.context(i), kBlocks);
  }
  std::uint64_t run(std::uint64_t operations) {
    std::uint64_t done = 0;
    while (done < operations) {
      done += batches_[next_].run(1);  // one batch
      next_ = (next_ + 1) % batches_.size();
    }
    return done;
  }

 private:
  static constexpr std::uint32_t kBlocks = 100;

  std::vector<load::Batch<load::HeapContext>> batches_;
  std::size_t next_ = 0;
};

// Several kernels that take turns, a round each; prints the median round of each under its name.
template <class Kernel>
void measure_in_turn(std::vector<std::pair<std::string, Kernel*>> kernels,
                     const bench::Options& options) {
  constexpr int kRounds = 9;
  bench::Options one_round = options;
  one_round.times.total = options.times.total / kRounds;
  std::vector<std::vector<double>> rounds(kernels.size());
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t i = 0; i < kernels.size(); ++i) {
      one_round.times.warm_up = round == 0 ? options.times.warm_up : std::chrono::milliseconds(0);
      rounds[i].push_back(load::measure_here(*kernels[i].second, one_round.times));
    }
  }
  for (std::size_t i = 0; i < kernels.size(); ++i)
    bench::print_figure(kernels[i].first, "ns_per_op", load::median(rounds[i]));
}

void arena_sizes(const bench::Options& options) {
  const std::pair<const char*, std::uint64_t> sizes[] = {{"16MiB", 16 * kMiB},
                                                         {"256MiB", 256 * kMiB},
                                                         {"1GiB", 1024 * kMiB},
                                                         {"16GiB", 16 * 1024 * kMiB}};
  std::vector<std::unique_ptr<HeapSubject>> subjects;
  std::vector<std::unique_ptr<load::Batch<load::HeapContext>>> batches;
  std::vector<std::unique_ptr<load::Churn<load::HeapContext>>> churns;
  std::vector<std::pair<std::string, load::Batch<load::HeapContext>*>> batch;
  std::vector<std::pair<std::string, load::Churn<load::HeapContext>*>> churn;
  for (const auto& [name, bytes] : sizes) {
    subjects.push_back(std::make_unique<HeapSubject>(1, bytes));
    batches.push_back(
        std::make_unique<load::Batch<load::HeapContext>>(subjects.back()->context(0)));
    batch.emplace_back(std::string("batch_arena_") + name, batches.back().get());
    churns.push_back(std::make_unique<load::Churn<load::HeapContext>>(subjects.back()->context(0),
                                                                      options.seed));
    churn.emplace_back(std::string("churn_arena_") + name, churns.back().get());
  }
  measure_in_turn(batch, options);
  measure_in_turn(churn, options);
  for (auto& c : churns) c->finish();
}

void heap_counts(const bench::Options& options) {
  std::vector<std::unique_ptr<HeapSubject>> subjects;
  std::vector<std::unique_ptr<RoundRobin>> kernels;
  std::vector<std::pair<std::string, RoundRobin*>> named;
  for (const std::size_t heaps : {1, 2, 4, 8, 16}) {
    subjects.push_back(std::make_unique<HeapSubject>(heaps));
    kernels.push_back(std::make_unique<RoundRobin>(*subjects.back()));
    named.emplace_back("batch_heaps_" + std::to_string(heaps), kernels.back().get());
  }
  measure_in_turn(named, options);
}

// What arenas may look for in their blocks, or do with them.
std::vector<std::pair<std::string, ArenaConfig>> options_of_blocks() {
  std::vector<std::pair<std::string, ArenaConfig>> options{{"debug_none", {}}};
  for (const char* letters : {"F", "Z", "P", "U", "FZPU"}) {
    options.emplace_back(std::string("debug_") + letters, ArenaConfig{});
    options.back().second.debug = *parse_debug(letters);
  }
  options.emplace_back("zero", ArenaConfig{}).second.zero = true;
  options.emplace_back("scrub", ArenaConfig{}).second.scrub = true;
  return options;
}

// Pairs of 64 B, 256 B and 4 KiB.
void debug_flags(const bench::Options& options) {
  using Pair = load::Pair<load::HeapContext>;
  for (const std::uint64_t bytes : {64, 256, 4096}) {
    std::vector<std::unique_ptr<HeapSubject>> subjects;
    std::vector<std::unique_ptr<Pair>> kernels;
    std::vector<std::pair<std::string, Pair*>> named;
    for (auto& [name, config] : options_of_blocks()) {
      subjects.push_back(std::make_unique<HeapSubject>(1, 64 * kMiB, config));
      kernels.push_back(std::make_unique<Pair>(subjects.back()->context(0), bytes));
      named.emplace_back("pair_" + std::to_string(bytes) + "B_" + name, kernels.back().get());
    }
    measure_in_turn(named, options);
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const bench::Options options = bench::parse_options(argc, argv);
    if (options.workload != "arena_sizes" && options.workload != "heap_counts" &&
        options.workload != "debug_flags")
      return bench::subject_main<HeapSubject>(argc, argv);
    load::pin_to_core(bench::two_cores()[0]);
    if (options.workload == "arena_sizes")
      arena_sizes(options);
    else if (options.workload == "debug_flags")
      debug_flags(options);
    else
      heap_counts(options);
    return 0;
  } catch (const std::invalid_argument& e) {
    std::fprintf(stderr, "bench_arenad: %s\n", e.what());
    return 2;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bench_arenad: %s\n", e.what());
    return 1;
  }
}
