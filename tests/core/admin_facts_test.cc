// AdminFacts by itself: sums, holders and tunables.
#include "server/core/control/admin_facts.h"

#include <gtest/gtest.h>

#include "server/core/control/detaches.h"
#include "server/core/control/drain.h"
#include "server/core/control/liveness.h"
#include "server/core/control/session_ends.h"
#include "server/core/control/session_reap.h"
#include "server/core/control/trim_rounds.h"
#include "tests/core/control_bench.h"

namespace arenad::server {
namespace {

class AdminFactsTest : public testing::Test {
 protected:
  ~AdminFactsTest() override { bench_.stop(); }

  ControlBench bench_;
  StandstillGate gate_;
  Drain drain_{bench_.core()};
  TrimRounds trim_rounds_{bench_.core()};
  Liveness liveness_{bench_.core().thread.io(), [](SessionId, Liveness::Loss) {}};
  SessionReap reap_{bench_.core(), gate_, trim_rounds_};
  Detaches detaches_{bench_.core(), reap_};
  SessionEnds ends_{bench_.core(), liveness_, reap_, detaches_, trim_rounds_, drain_};
  AdminFacts facts_{bench_.core(), ends_};
};

TEST_F(AdminFactsTest, StatsAreSumsOverShardsAndArenasWhoeverCounts) {
  bench_.start();
  const ArenaId plain = bench_.add_arena("plain", 4 << 20);
  const ArenaId counted = bench_.add_arena("counted", 4 << 20);
  const SessionKey key = bench_.add_session("s");
  bench_.attach(key, plain);
  bench_.attach(key, counted);
  ASSERT_TRUE(bench_.allocate(0, key, plain, 64, 2).ok());
  ASSERT_TRUE(bench_.allocate(1, key, counted, 64, 3).ok());
  bench_.on_control([&] { bench_.core().arenas.find(counted)->state->counts_from_words = true; });
  const auto all = bench_.answer<DaemonStats>([this] { return facts_.stats(daemon_itself(), ""); });
  ASSERT_TRUE(all.ok());
  EXPECT_EQ(all->arenas, 2u);
  EXPECT_EQ(all->held_blocks, 5u);
  EXPECT_EQ(all->capacity_bytes, 8u << 20);
  EXPECT_EQ(all->shards.size(), 2u);
  const auto one =
      bench_.answer<DaemonStats>([this] { return facts_.stats(daemon_itself(), "counted"); });
  ASSERT_TRUE(one.ok());
  EXPECT_EQ(one->held_blocks, 3u);
  EXPECT_EQ(bench_.answer<DaemonStats>([this] { return facts_.stats(daemon_itself(), "none"); })
                .error()
                .error,
            Error::kUnknownArena);
}

TEST_F(AdminFactsTest, HoldersAreTheBiggestFirstAndTheirTotalCountsAll) {
  bench_.start();
  const ArenaId arena = bench_.add_arena("pool", 4 << 20);
  const SessionKey small = bench_.add_session("small"), big = bench_.add_session("big");
  bench_.attach(small, arena);
  bench_.attach(big, arena);
  ASSERT_TRUE(bench_.allocate(0, small, arena, 64, 2).ok());
  ASSERT_TRUE(bench_.allocate(0, big, arena, 4096, 3).ok());
  const auto holders =
      bench_.answer<Holders>([this] { return facts_.holders(daemon_itself(), "", 1); });
  ASSERT_TRUE(holders.ok());
  ASSERT_EQ(holders->rows.size(), 1u);
  EXPECT_EQ(holders->rows[0].session, big.id);
  EXPECT_EQ(holders->rows[0].session_name, "big");
  EXPECT_EQ(holders->total_blocks, 5u);
}

TEST_F(AdminFactsTest, TunablesAreChangedAllOrNone) {
  bench_.start();
  using Values = std::vector<std::pair<std::string, std::string>>;
  const auto set = [this](const Values& values) {
    return bench_.answer<std::vector<TunableFacts>>(
        [this, values] { return facts_.set_tunables(daemon_itself(), values); });
  };
  EXPECT_TRUE(set({{"spin_us", "7"}}).ok());
  EXPECT_EQ(bench_.shared().tunables.spin_us, 7u);
  EXPECT_EQ(set({{"spin_us", "8"}, {"spin_us", "1001"}}).error().error, Error::kInvalidOption);
  EXPECT_EQ(set({{"spin_us", "8"}, {"no_such", "1"}}).error().error, Error::kInvalidOption);
  EXPECT_EQ(bench_.shared().tunables.spin_us, 7u);
}

}  // namespace
}  // namespace arenad::server
