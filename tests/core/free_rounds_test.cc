// FreeRounds by itself.
#include "server/core/control/free_rounds.h"

#include <gtest/gtest.h>

#include "tests/core/control_bench.h"
#include "tests/core/daemon.h"

namespace arenad::server {
namespace {

TEST(FreeRounds, WhatAnotherShardHasFreedIsPaidForUntilARoundIsOver) {
  ControlBench bench(2);
  FreeRounds rounds(bench.core());
  bench.start();
  const ArenaId arena = bench.add_arena("pool", 4 << 20);
  const SessionKey key = bench.add_session("s");
  bench.attach(key, arena);
  const auto got = bench.allocate(0, key, arena, 64, 2);
  ASSERT_TRUE(got.ok());
  const Account& account = bench.shared().account;
  EXPECT_EQ(account.charged_bytes(key.id), 128u);
  const std::vector<std::uint64_t> refs{got->blocks[0].ref.value};
  EXPECT_EQ(
      bench
          .on_shard(1, [&](Shard& shard) { return shard.free(key, arena, refs, FreeScope::kAll); })
          ->done,
      1u);
  EXPECT_EQ(account.charged_bytes(key.id), 128u);
  bench.on_control([&] { rounds.round(); });
  EXPECT_TRUE(eventually([&] { return account.charged_bytes(key.id) == 64; }));
  bench.stop();
}

}  // namespace
}  // namespace arenad::server
