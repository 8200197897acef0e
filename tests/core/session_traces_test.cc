// What an arena says about sessions, and who uses a full arena.
#include "server/core/control/session_traces.h"

#include <gtest/gtest.h>

#include "server/core/control/usage_summary.h"
#include "tests/core/control_bench.h"

namespace arenad::server {
namespace {

TEST(SessionSet, LeavesOutIdsThatAreNobodys) {
  SessionSet set;
  set.insert(kNoSession);
  set.insert(kReaperSession);
  set.insert(SessionId{1});
  set.insert(SessionId{65534});
  std::vector<SessionId> found;
  set.for_each([&](SessionId id) { found.push_back(id); });
  EXPECT_EQ(found, (std::vector<SessionId>{SessionId{1}, SessionId{65534}}));
  EXPECT_FALSE(set.contains(kReaperSession));
}

TEST(RecoveryScan, FindsWhereTheDeadHoldBlocksAndWhoIsNamed) {
  ControlBench bench;
  bench.start();
  const ArenaId id = bench.add_arena("pool", 4 << 20);
  const SessionKey living = bench.add_session("living"), dead = bench.add_session("dead");
  bench.attach(living, id);
  bench.attach(dead, id);
  ASSERT_TRUE(bench.allocate(0, living, id, 64).ok());
  const auto blocks = bench.allocate(1, dead, id, 4096);
  ASSERT_TRUE(blocks.ok());
  bench.on_control([&] {
    const Arena& arena = *bench.core().arenas.find(id)->state->arena;
    const SessionSet named = sessions_named_in(arena);
    EXPECT_TRUE(named.contains(living.id));
    EXPECT_TRUE(named.contains(dead.id));
    SessionSet alive;
    alive.insert(living.id);
    const auto held = held_by_dead(arena, alive);
    ASSERT_EQ(held.size(), 1u);
    EXPECT_EQ(held.begin()->first, dead.id);
    EXPECT_TRUE(held.begin()->second.has(blocks->blocks[0].ref.slot().slab()));
  });
}

TEST(UsageSummary, NamesTheBiggestHoldersOverAllShards) {
  ControlBench bench;
  bench.start();
  const ArenaId id = bench.add_arena("pool", 4 << 20);
  const SessionKey one = bench.add_session("one"), two = bench.add_session("two");
  bench.on_control([&] {
    const std::vector<SharesBySession> shares = {{{one.id, {1, 100}}, {two.id, {5, 5000}}},
                                                 {{one.id, {1, 100}}, {two.id, {-1, -1000}}}};
    const ArenaRecord* const arena = bench.core().arenas.find(id);
    const UsageSummary usage = summarize_usage(arena, shares, {}, bench.core().sessions);
    EXPECT_EQ(usage.held_bytes, 4200u);
    EXPECT_EQ(usage.biggest_holders,
              "session 2 'two' 3.9 KiB in 4 blocks, session 1 'one' 200 B in 2 blocks");
    EXPECT_EQ(summarize_usage(nullptr, shares, {}, bench.core().sessions).biggest_holders, "");
  });
}

}  // namespace
}  // namespace arenad::server
