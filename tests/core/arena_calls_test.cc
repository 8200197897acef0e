// ArenaCalls by itself.
#include "server/core/control/arena_calls.h"

#include <gtest/gtest.h>

#include "server/core/control/drain.h"
#include "server/core/control/remains.h"
#include "server/core/control/trim_rounds.h"
#include "tests/core/control_bench.h"

namespace arenad::server {
namespace {

class ArenaCallsTest : public testing::Test {
 protected:
  ~ArenaCallsTest() override { bench_.stop(); }

  Answer<ArenaFacts> create(const std::string& name) {
    CreateArenaArgs args;
    args.name = name;
    args.capacity_bytes = 4 << 20;
    return bench_.answer<ArenaFacts>([this, args] { return calls_.create(daemon_itself(), args); });
  }
  Answer<Nothing> remove(const std::string& name, bool force) {
    return bench_.answer<Nothing>(
        [this, name, force] { return calls_.remove(daemon_itself(), name, force); });
  }

  ControlBench bench_;
  Drain drain_{bench_.core()};
  TrimRounds trim_rounds_{bench_.core()};
  Remains remains_{bench_.core()};
  ArenaCalls calls_{bench_.core(), drain_, trim_rounds_, remains_};
};

TEST_F(ArenaCallsTest, NewArenaIsKnownToEveryShardWhenItIsAnswered) {
  bench_.start();
  const auto made = create("pool");
  ASSERT_TRUE(made.ok()) << made.error().message;
  const SessionKey key = bench_.add_session("s");
  bench_.attach(key, made->id);
  EXPECT_TRUE(bench_.allocate(0, key, made->id, 64).ok());
  EXPECT_TRUE(bench_.allocate(1, key, made->id, 64, 2).ok());
  const auto facts =
      bench_.answer<ArenaFacts>([this] { return calls_.get(daemon_itself(), "pool"); });
  ASSERT_TRUE(facts.ok());
  EXPECT_EQ(facts->held_blocks, 3u);
  EXPECT_EQ(facts->sessions, 1u);
}

TEST_F(ArenaCallsTest, PagesGoOnWhereTheLastOneEnded) {
  bench_.start();
  for (const char* name : {"a", "b", "c"}) ASSERT_TRUE(create(name).ok());
  const auto first =
      bench_.answer<Page<ArenaFacts>>([this] { return calls_.list(daemon_itself(), 2, ""); });
  ASSERT_TRUE(first.ok());
  ASSERT_EQ(first->items.size(), 2u);
  EXPECT_EQ(first->items[1].name, "b");
  const std::string token = first->next_page_token;
  const auto second = bench_.answer<Page<ArenaFacts>>(
      [this, token] { return calls_.list(daemon_itself(), 2, token); });
  ASSERT_TRUE(second.ok());
  ASSERT_EQ(second->items.size(), 1u);
  EXPECT_EQ(second->items[0].name, "c");
  EXPECT_EQ(second->next_page_token, "");
}

TEST_F(ArenaCallsTest, ArenaWithSessionsIsDeletedOnlyByForce) {
  bench_.start();
  const auto made = create("pool");
  ASSERT_TRUE(made.ok());
  const SessionKey key = bench_.add_session("cam");
  bench_.attach(key, made->id);
  const auto refused = remove("pool", false);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().error, Error::kArenaBusy);
  EXPECT_NE(refused.error().message.find("'cam'"), std::string::npos) << refused.error().message;
  EXPECT_TRUE(remove("pool", true).ok());
  EXPECT_EQ(remove("pool", true).error().error, Error::kUnknownArena);
  EXPECT_FALSE(bench_.allocate(0, key, made->id, 64).ok());
  EXPECT_TRUE(create("pool").ok());  // the name is free
}

TEST_F(ArenaCallsTest, DrainingDaemonCreatesNothing) {
  bench_.start();
  drain_.mark();
  EXPECT_EQ(create("pool").error().error, Error::kDraining);
}

}  // namespace
}  // namespace arenad::server
