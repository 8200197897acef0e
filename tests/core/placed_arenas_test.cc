// Arenas with `huge_pages` and `numa` in the engine: what a request may say, and what the facts and
// the log say of it.
#include <gtest/gtest.h>
#include <sys/prctl.h>

#include <mutex>
#include <string>
#include <vector>

#include "server/core/host/numa_nodes.h"
#include "tests/core/daemon.h"
#include "tests/core/state_directory_fixture.h"
#include "tests/support/text.h"

namespace arenad::server {
namespace {

using Kind = NumaPolicy::Kind;

CreateArenaArgs placed(const std::string& name, bool huge_pages, const std::string& numa) {
  CreateArenaArgs args;
  args.name = name;
  args.capacity_bytes = 8 * kMiB;
  args.pinned = true;  // so that all memory is there at once
  args.huge_pages = huge_pages;
  args.numa = numa;
  return args;
}

EngineOptions with_nodes(std::vector<unsigned> nodes) {
  EngineOptions options;
  options.numa_nodes = std::move(nodes);
  return options;
}

TEST(MachineNodes, TakesNodesThatThereAreAndNamesThem) {
  const MachineNodes nodes({0, 2});
  EXPECT_EQ(*nodes.policy_of("a", "2"), (NumaPolicy{Kind::kNode, 2}));
  EXPECT_EQ(*nodes.policy_of("a", "interleave"), (NumaPolicy{Kind::kInterleave, 0}));
  EXPECT_EQ(*nodes.policy_of("a", ""), NumaPolicy{});
  EXPECT_EQ(nodes.all(), 0b101u);
  EXPECT_EQ(nodes.no_effect({Kind::kNode, 2}), "");
  for (const char* wrong : {"1", "64", "all"}) {
    const auto refused = nodes.policy_of("pool", wrong);
    ASSERT_FALSE(refused.ok()) << wrong;
    EXPECT_EQ(refused.error().error, Error::kInvalidOption);
    for (const char* part : {wrong, "'pool'", "interleave", "arenad are 0, 2"})
      EXPECT_TRUE(has(refused.error().message, part)) << refused.error().message;
  }
}

TEST(MachineNodes, OneNodeHasNoEffectAndUnknownNodesAreLeftToTheKernel) {
  const MachineNodes one({3});
  EXPECT_TRUE(has(one.no_effect({Kind::kInterleave, 0}), "node 3 is the only"));
  EXPECT_EQ(one.no_effect({}), "");
  const MachineNodes unknown;
  EXPECT_TRUE(unknown.policy_of("a", "63").ok());
  EXPECT_FALSE(unknown.policy_of("a", "64").ok());
  EXPECT_EQ(unknown.all(), ~NumaNodes{0});
  EXPECT_EQ(unknown.no_effect({Kind::kInterleave, 0}), "");
}

TEST(PlacedArenas, FactsSayWhatWasAskedForAndWhatCameOfIt) {
  Daemon daemon(1, with_nodes({0}));
  const auto made = daemon.create(placed("a", true, "interleave"));
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_TRUE(made->huge_pages);
  EXPECT_LE(made->huge_page_bytes, made->committed_bytes);
  EXPECT_EQ(made->huge_page_fallback.empty(), made->huge_page_bytes == made->committed_bytes);
  EXPECT_EQ(made->numa, "interleave");
  EXPECT_NE(made->numa_fallback, "") << "there is one node";
  const auto plain = daemon.create(placed("b", false, ""));
  ASSERT_TRUE(plain.ok());
  EXPECT_FALSE(plain->huge_pages);
  EXPECT_EQ(plain->huge_page_bytes, 0u);
  EXPECT_EQ(plain->huge_page_fallback + plain->numa + plain->numa_fallback, "");
}

TEST(PlacedArenas, NodeThatIsNotThereIsRefusedAndLeavesNothing) {
  Daemon daemon(1, with_nodes({0}));
  const auto refused = daemon.create(placed("a", false, "1"));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().error, Error::kInvalidOption);
  EXPECT_TRUE(has(refused.error().message, "arenad are 0")) << refused.error().message;
  EXPECT_TRUE(daemon.create(placed("a", false, "0")).ok());
}

TEST(PlacedArenas, SmallPagesAreInTheFactsAndInTheLog) {
  ASSERT_EQ(::prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), 0);
  std::mutex mutex;
  std::string log;
  EngineOptions options = with_nodes({0});
  options.log = [&](LogLevel, const std::string& line) {
    const std::lock_guard lock(mutex);
    log += line + "\n";
  };
  {
    Daemon daemon(1, options);
    const auto made = daemon.create(placed("a", true, "0"));
    ::prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);
    ASSERT_TRUE(made.ok()) << made.error().message;
    EXPECT_EQ(made->committed_bytes, 8 * kMiB);
    EXPECT_EQ(made->huge_page_bytes, 0u);
    EXPECT_TRUE(has(made->huge_page_fallback, "MADV_COLLAPSE")) << made->huge_page_fallback;
  }
  const std::lock_guard lock(mutex);
  EXPECT_TRUE(has(log, "huge pages, NUMA 0, owner")) << log;
  EXPECT_TRUE(has(log, "'a' is served, but with small pages: ")) << log;
  EXPECT_TRUE(has(log, "'a' is served, but NUMA 0: ")) << log;
}

TEST(PlacedArenas, RestartedDaemonHasThemAsBefore) {
  const test::TemporaryDirectory state(test::kMemoryFiles);
  EngineOptions options = with_nodes({0});
  options.state_directory = state.path();
  ArenaFacts before;
  {
    Daemon daemon(1, options);
    const auto made = daemon.create(placed("a", true, "interleave"));
    ASSERT_TRUE(made.ok()) << made.error().message;
    before = *made;
  }
  Daemon daemon(1, options);
  const auto again = daemon.arena("a");
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_TRUE(again->huge_pages);
  EXPECT_EQ(again->huge_page_bytes, before.huge_page_bytes);
  EXPECT_EQ(again->numa, "interleave");
  EXPECT_NE(again->numa_fallback, "");
}

}  // namespace
}  // namespace arenad::server
