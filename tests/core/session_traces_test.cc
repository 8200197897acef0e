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

TEST(SessionsNamedIn, AreTheAttachedAndTheSharersButNobodyElse) {
  ControlBench bench;
  bench.start();
  const ArenaId id = bench.add_arena("pool", 4 << 20);
  const SessionKey attached = bench.add_session("attached");
  bench.attach(attached, id);
  bench.on_control([&] {
    Arena& arena = *bench.core().arenas.find(id)->state->arena;
    arena.control().sharers().sessions[3] = 500;
    arena.control().sharers().sessions[4] = 0xffffffff;  // no session's
    std::vector<SessionId> found;
    sessions_named_in(arena).for_each([&](SessionId session) { found.push_back(session); });
    EXPECT_EQ(found, (std::vector<SessionId>{attached.id, SessionId{500}}));
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
