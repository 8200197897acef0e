// Recounts by itself.
#include "server/core/control/recounts.h"

#include <gtest/gtest.h>

#include "tests/core/control_bench.h"
#include "tests/core/daemon.h"

namespace arenad::server {
namespace {

TEST(Recounts, AccountIsSetRightByWhatTheSessionHolds) {
  Limits limits;
  limits.max_session_bytes = 1 << 20;
  ControlBench bench(2, limits);
  Recounts recounts(bench.core());
  bench.start();
  const ArenaId arena = bench.add_arena("pool", 4 << 20);
  const SessionKey key = bench.add_session("s");
  bench.attach(key, arena);
  ASSERT_TRUE(bench.allocate(0, key, arena, 64, 2).ok());
  ASSERT_TRUE(bench.allocate(1, key, arena, 4096).ok());
  const std::uint64_t right = 2 * 64 + 4096;
  EXPECT_EQ(bench.shared().account.charged_bytes(key.id), right);
  ASSERT_TRUE(bench.shared().account.charge(key.id, 1000));  // as if blocks had been passed on
  bench.on_control([&] { recounts.start(key.id); });
  EXPECT_TRUE(eventually([&] { return bench.shared().account.charged_bytes(key.id) == right; }));

  // In an arena with peers the words decide.
  ASSERT_TRUE(bench.shared().account.charge(key.id, 1000));
  bench.on_control([&] {
    bench.core().arenas.find(arena)->state->counts_from_words = true;
    recounts.start(key.id);
  });
  EXPECT_TRUE(eventually([&] { return bench.shared().account.charged_bytes(key.id) == right; }));
  bench.stop();
}

}  // namespace
}  // namespace arenad::server
