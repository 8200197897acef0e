#include "server/core/control/free_rounds.h"

#include <chrono>
#include <utility>

namespace arenad::server {
namespace {

// A round with a thousand arenas in use takes a shard 0.1 ms.
constexpr std::chrono::milliseconds kRest{1};

}  // namespace

Later<Nothing> FreeRounds::round() {
  Later<Nothing> over;
  waiting_.push_back(over);
  if (!std::exchange(under_way_, true)) core_.thread.run(run_rounds());
  return over;
}

void FreeRounds::start_for(ArenaId arena, ShardId shard, std::uint64_t ticket) {
  core_.thread.run(tell(round(), arena, shard, ticket));
}

Task<> FreeRounds::run_rounds() {
  while (!waiting_.empty()) {
    const std::vector<Later<Nothing>> served = std::exchange(waiting_, {});
    auto published = core_.shards.broadcast([](Shard& shard) { shard.publish(); });
    co_await published;
    auto drained = core_.shards.broadcast([](Shard& shard) { shard.drain(kAllArenas); });
    co_await drained;
    for (const Later<Nothing>& over : served) over.set({});
    auto rested = core_.thread.sleep(kRest);
    co_await rested;
  }
  under_way_ = false;
}

Task<> FreeRounds::tell(Later<Nothing> over, ArenaId arena, ShardId shard, std::uint64_t ticket) {
  co_await over;
  Shard* const asking = &core_.shards[shard.value];
  asking->post([asking, arena, ticket] { asking->free_round_over(arena, ticket); });
}

}  // namespace arenad::server
