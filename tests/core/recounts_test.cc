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
  const std::int64_t right = 2 * 64 + 4096;
  EXPECT_EQ(bench.shared().session_bytes.held(key.id), right);
  bench.shared().session_bytes.add(key.id, 1000);  // as if blocks had been passed on
  bench.on_control([&] { recounts.start(key.id); });
  EXPECT_TRUE(eventually([&] { return bench.shared().session_bytes.held(key.id) == right; }));

  // In an arena with peers the words decide.
  bench.shared().session_bytes.add(key.id, 1000);
  bench.on_control([&] {
    bench.core().arenas.find(arena)->state->counts_from_words = true;
    recounts.start(key.id);
  });
  EXPECT_TRUE(eventually([&] { return bench.shared().session_bytes.held(key.id) == right; }));
  bench.stop();
}

}  // namespace
}  // namespace arenad::server
