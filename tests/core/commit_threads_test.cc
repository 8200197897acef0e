// CommitThreads: one arena in the kernel holds up no other.
#include "server/core/control/commit_threads.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <vector>

#include "tests/core/shard_parts.h"
#include "tests/support/eventually.h"

namespace arenad::server {
namespace {

class CommitThreadsTest : public ::testing::Test {
 protected:
  std::shared_ptr<ArenaState> first = make_arena_state({1}), second = make_arena_state({2});
  CommitThreads threads;
};

TEST_F(CommitThreadsTest, PiecesOfAnArenaRunInOrderAndOtherArenasDoNotWaitForThem) {
  std::promise<void> gate, done, other;
  std::vector<int> order;
  threads.run(first, [&] {
    gate.get_future().wait();
    order.push_back(1);
  });
  threads.run(first, [&] {
    order.push_back(2);
    done.set_value();
  });
  threads.run(second, [&] { other.set_value(); });
  EXPECT_EQ(other.get_future().wait_for(test::kDeadline), std::future_status::ready);
  gate.set_value();
  ASSERT_EQ(done.get_future().wait_for(test::kDeadline), std::future_status::ready);
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST_F(CommitThreadsTest, BuriedArenaEndsAfterItsLastPiece) {
  for (int round = 0; round < 20; ++round) {
    auto arena = make_arena_state({3});
    const std::weak_ptr<ArenaState> watched = arena;
    std::atomic<bool> ran{false};
    threads.run(arena, [&] { ran = true; });
    std::promise<bool> gone;
    threads.bury(std::move(arena), [&] { gone.set_value(watched.expired()); });
    EXPECT_TRUE(gone.get_future().get());
    EXPECT_TRUE(ran);
  }
  const std::weak_ptr<ArenaState> unused = first;
  threads.bury(std::move(first), nullptr);
  EXPECT_TRUE(test::eventually([&] { return unused.expired(); })) << "one without any piece";
}

TEST_F(CommitThreadsTest, StopEndsCommitsDropsWhatWaitsAndTakesNothingMore) {
  std::promise<void> began;
  std::atomic<int> ran{0};
  threads.run(first, [&] {
    began.set_value();
    Arena& arena = *first->arena;
    EXPECT_TRUE(test::eventually([&] {
      const bool refused = !arena.commit_ahead(1).ok();
      for (int twice = 0; twice < 2; ++twice) arena.decommit_idle(0);
      return refused;
    })) << "a commit that is under way hears of it";
    ++ran;
  });
  began.get_future().wait();
  threads.run(first, [&] { ++ran; });
  threads.stop();
  threads.run(second, [&] { ++ran; });
  EXPECT_EQ(ran, 1);
}

}  // namespace
}  // namespace arenad::server
