// The workloads with the allocator embedded in this process: the kernels over one heap per thread.
#include <memory>

#include "allocator/arena/arena.h"
#include "allocator/check/verify.h"
#include "allocator/heap/heap.h"
#include "client/load/kernels/batch.h"
#include "client/load/kernels/churn.h"
#include "client/load/kernels/cores.h"
#include "client/load/kernels/heap_context.h"
#include "client/load/kernels/larson.h"
#include "client/load/kernels/pair.h"
#include "client/load/rounds.h"
#include "client/load/workloads.h"

namespace arenad::load {
namespace {

using Sets = Larson<HeapContext::Handle, kMaxWorkers>;

}  // namespace

WorkloadResult run_in_process(const Options& options) {
  auto created = Arena::create(
      {.name = "arena-load", .capacity_bytes = options.capacity_bytes, .max_heaps = kMaxWorkers});
  if (!created.ok()) throw LoadError(created.error().message);
  Arena& arena = **created;
  const Holder holder{SessionId{1}, 0};
  std::vector<std::unique_ptr<Heap>> heaps;
  std::vector<std::unique_ptr<HeapContext>> contexts;
  for (std::uint32_t i = 0; i < options.clients; ++i) {
    heaps.push_back(
        std::make_unique<Heap>(arena, HeapId{static_cast<std::uint16_t>(i)}, SessionId{1}));
    contexts.push_back(std::make_unique<HeapContext>(*heaps.back(), holder));
  }
  auto sets = std::make_unique<Sets>();
  if (options.workload == "larson") sets->prepare(*contexts[0], options.clients, options.seed);
  const std::vector<int> cores = allowed_cores();

  WorkloadResult result = run_threads(
      options, options.workload, "inproc", "operation (mean of 4096)", options.clients,
      [&](std::uint32_t i, Track& track, Shared& shared) {
        pin_to_core(cores[i % cores.size()]);
        HeapContext& context = *contexts[i];
        if (options.workload == "larson") {
          if (!wait_for_start(shared, track)) return;
          watch_body([&](Progress& progress,
                         Stop& end) { sets->run(context, i, options.seed + i, progress, end); },
                     track, shared.stop, [] {});
          return;
        }
        const auto drive = [&](auto kernel) {
          if (wait_for_start(shared, track)) drive_rounds(kernel, track, shared.stop, [] {});
          kernel.finish();
        };
        if (options.workload == "pair") drive(Pair<HeapContext>(context, options.size_bytes));
        if (options.workload == "batch")
          drive(Batch<HeapContext>(context, kBatchBlocks, options.size_bytes));
        if (options.workload == "churn") drive(Churn<HeapContext>(context, options.seed + i));
      });
  if (options.workload == "larson") sets->finish(*contexts[0], options.clients);
  if (options.leave_block) contexts[0]->allocate(options.size_bytes);

  std::vector<const Heap*> all;
  for (const auto& heap : heaps) {
    heap->publish();
    heap->trim();
    all.push_back(heap.get());
  }
  const VerifyReport report = verify(arena, all);
  result.left_held = report.held + report.returning;
  if (!report.exact()) result.mismatches = report.findings;
  return result;
}

}  // namespace arenad::load
