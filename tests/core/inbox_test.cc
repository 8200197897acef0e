// Inbox: order, wake-ups, and nothing lost between many producers and one consumer.
#include "server/core/shard/inbox.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

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
  {
    std::vector<std::jthread> producers;
    for (int p = 0; p < kProducers; ++p) {
      producers.emplace_back([&, p] {
        for (int i = 0; i < kEach; ++i) inbox.push([&, p, i] { out_of_order += next[p]++ != i; });
      });
    }
    int seen = 0;
    for (int ran = 0; ran < kProducers * kEach;) {
      if (waker.woken == seen) {  // runs only when it was woken: a lost wake-up would hang here
        std::this_thread::yield();
        continue;
      }
      seen = waker.woken;
      ran += static_cast<int>(inbox.run());
    }
  }
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
