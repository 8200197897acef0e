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
  ASSERT_EQ(bench.shared().account.charge(key.id, 1000),
            Error::kNone);  // as if blocks had been passed on
  bench.on_control([&] { recounts.start(key.id); });
  EXPECT_TRUE(eventually([&] { return bench.shared().account.charged_bytes(key.id) == right; }));

  // In an arena with peers the words decide.
  ASSERT_EQ(bench.shared().account.charge(key.id, 1000), Error::kNone);
  bench.on_control([&] {
    bench.core().arenas.find(arena)->state->counts_from_words = true;
    recounts.start(key.id);
  });
  EXPECT_TRUE(eventually([&] { return bench.shared().account.charged_bytes(key.id) == right; }));
  bench.stop();
}

TEST(Recounts, WordsOfAnArenaCountOnlyForSessionsThatAreAttached) {
  ControlBench bench(1);
  Recounts recounts(bench.core());
  bench.start();
  const ArenaId mine = bench.add_arena("mine", 4 << 20),
                theirs = bench.add_arena("theirs", 4 << 20);
  auto user = std::make_shared<Principal>();
  user->uid = 1000;
  const SessionKey one = bench.add_session("one", 0, user), two = bench.add_session("two", 0, user);
  bench.attach(one, mine);
  bench.attach(two, theirs);
  ASSERT_TRUE(bench.allocate(0, one, mine, 64, 2).ok());
  ASSERT_TRUE(bench.allocate(0, two, theirs, 4096).ok());
  Account& account = bench.shared().account;
  ASSERT_EQ(account.charge(one.id, 1000), Error::kNone);  // as if blocks had been passed on
  const auto forged = bench.allocate(0, two, theirs, 64);
  bench.on_control([&] {
    for (const ArenaId arena : {mine, theirs})
      bench.core().arenas.find(arena)->state->counts_from_words = true;
    Arena& arena = *bench.core().arenas.find(theirs)->state->arena;
    ASSERT_TRUE(arena.acquire({forged->blocks[0].ref.value}, {one.id, 0}).ok());
    recounts.start_for(Error::kQuotaUser, one.id, mine, ShardId{0}, 1);
  });
  EXPECT_TRUE(eventually([&] { return account.charged_bytes(one.id) == 128; }));
  EXPECT_TRUE(eventually([&] { return account.user_bytes(two.id) == 128 + 4096; }));
  bench.stop();
}

}  // namespace
}  // namespace arenad::server
