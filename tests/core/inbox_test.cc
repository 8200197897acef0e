// Inbox: order, wake-ups, and nothing lost between many producers and one consumer.
#include "server/core/shard/inbox.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

#include "tests/support/workers.h"

namespace arenad::server {
namespace {

struct CountingWaker : Waker {
  std::atomic<int> woken{0};
  void wake() override { ++woken; }
};

TEST(Inbox, WakesOnceForEachTimeItWasEmpty) {
  Inbox inbox;
  CountingWaker waker;
  inbox.set_waker(&waker);
  inbox.push([] {});
  inbox.push([] {});
  EXPECT_EQ(waker.woken, 1);
  EXPECT_EQ(inbox.run(), 2u);
  inbox.push([] {});
  EXPECT_EQ(waker.woken, 2);
}

TEST(Inbox, TaskThatWasThereBeforeTheWakerIsNotForgotten) {
  Inbox inbox;
  inbox.push([] {});
  CountingWaker waker;
  inbox.set_waker(&waker);
  EXPECT_EQ(waker.woken, 1);
}

TEST(Inbox, TaskPushedByATaskIsLeftForTheNextRun) {
  Inbox inbox;
  CountingWaker waker;
  inbox.set_waker(&waker);
  int ran = 0;
  inbox.push([&] { inbox.push([&] { ++ran; }); });
  EXPECT_EQ(inbox.run(), 1u);
  EXPECT_EQ(ran, 0);
  EXPECT_EQ(waker.woken, 2);
  EXPECT_EQ(inbox.run(), 1u);
  EXPECT_EQ(ran, 1);
}

TEST(Inbox, KeepsTheOrderOfEachProducerAndLosesNothing) {
  constexpr int kProducers = 4, kEach = 20'000;
  Inbox inbox;
  CountingWaker waker;
  inbox.set_waker(&waker);
  std::vector<int> next(kProducers);
  int out_of_order = 0;
  test::Workers producers;
  for (int p = 0; p < kProducers; ++p) {
    producers.start([&, p] {
      for (int i = 0; i < kEach; ++i)
        inbox.push([&, p, i] { out_of_order += next[static_cast<std::size_t>(p)]++ != i; });
    });
  }
  int seen = 0;
  for (int ran = 0; ran < kProducers * kEach;) {
    // The inbox runs only when somebody has woken its owner: a lost wake-up fails here.
    ASSERT_TRUE(producers.wait_until([&] { return waker.woken != seen; }));
    seen = waker.woken;
    ran += static_cast<int>(inbox.run());
  }
  producers.join();
  EXPECT_EQ(out_of_order, 0);
  EXPECT_TRUE(inbox.empty());
}

TEST(Inbox, TasksThatNobodyRanAreDestroyed) {
  const auto alive = std::make_shared<int>(0);
  {
    Inbox inbox;
    for (int i = 0; i < 3; ++i) inbox.push([alive] {});
    EXPECT_EQ(alive.use_count(), 4);
  }
  EXPECT_EQ(alive.use_count(), 1);
}

}  // namespace
}  // namespace arenad::server
