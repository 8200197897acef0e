// Maintenance by itself: what it says of arenas. memory_test.cc has what it does with their memory.
#include "server/core/control/maintenance.h"

#include <gtest/gtest.h>

#include "tests/core/control_bench.h"
#include "tests/support/eventually.h"

namespace arenad::server {
namespace {

// A guard of a heap quarantines on a shard's thread, which does not log.
TEST(Maintenance, SaysOnceAsAnErrorThatAGuardHasQuarantinedAnArena) {
  ControlBench bench;
  bench.start();
  const ArenaId id = bench.add_arena("pool", 4 << 20);
  bench.on_control([&] {
    bench.core().arenas.find(id)->state->arena->quarantine("for the test");
    bench.core().arenas_changed();
  });
  const auto errors = [&] { return bench.log_lines(LogLevel::kError); };
  EXPECT_TRUE(test::eventually([&] { return !errors().empty(); }));
  bench.stop();
  EXPECT_EQ(errors(), std::vector<std::string>{"arena 'pool' is quarantined: for the test"});
}

}  // namespace
}  // namespace arenad::server
