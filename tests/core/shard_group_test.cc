// ShardGroup by itself: broadcasts.
#include "server/core/control/shard_group.h"

#include <gtest/gtest.h>

#include "tests/core/control_bench.h"

namespace arenad::server {
namespace {

Task<Answer<std::vector<ShardId>>> ask_who(ShardGroup& shards) {
  auto asked = shards.broadcast([](Shard& shard) { return shard.index(); });
  std::vector<ShardId> ids = co_await asked;
  co_return ids;
}

TEST(ShardGroup, BroadcastAnswersInTheOrderOfTheShards) {
  ControlBench bench(3);
  bench.start();
  const auto ids = bench.answer<std::vector<ShardId>>([&] { return ask_who(bench.core().shards); });
  ASSERT_TRUE(ids.ok());
  EXPECT_EQ(*ids, (std::vector<ShardId>{ShardId{0}, ShardId{1}, ShardId{2}}));
}

Task<Answer<std::vector<int>>> count_in_order(ShardGroup& shards, std::atomic<int>& visits) {
  auto first = shards.broadcast([&visits](Shard&) { ++visits; });
  auto second = shards.broadcast([&visits](Shard& shard) {
    return shard.index().value == 0 ? visits.exchange(-1000) : visits.load();
  });
  std::vector<int> seen = co_await second;
  co_await first;  // is over already, or ends later: both are waited for
  co_return seen;
}

TEST(ShardGroup, BroadcastThatStartsEarlierReachesEveryShardEarlier) {
  ControlBench bench(1);
  bench.start();
  for (int repeat = 0; repeat < 100; ++repeat) {
    std::atomic<int> visits{0};
    const auto seen =
        bench.answer<std::vector<int>>([&] { return count_in_order(bench.core().shards, visits); });
    ASSERT_TRUE(seen.ok());
    EXPECT_EQ(*seen, std::vector<int>{1});
  }
}

}  // namespace
}  // namespace arenad::server
