// ControlThread by itself: calls, sequences, operations of other threads, and the end.
#include "server/core/control/control_thread.h"

#include <gtest/gtest.h>

#include <future>
#include <string>
#include <thread>
#include <vector>

namespace arenad::server {
namespace {

template <class T>
struct Waited {
  std::shared_ptr<std::promise<Answer<T>>> promise = std::make_shared<std::promise<Answer<T>>>();
  Done<T> done() const {
    return [promise = promise](Answer<T> answer) { promise->set_value(std::move(answer)); };
  }
  Answer<T> get() const { return promise->get_future().get(); }
};

TEST(ControlThread, CallIsAnsweredByAValueOrASequence) {
  ControlThread thread;
  thread.start();
  const Waited<int> plain;
  thread.call(plain.done(), [] { return Answer<int>(3); });
  EXPECT_EQ(*plain.get(), 3);

  const Waited<std::string> slow;
  const auto sequence = [&thread](std::string text) -> Task<Answer<std::string>> {
    auto over = thread.sleep(std::chrono::milliseconds(1));
    co_await over;
    co_return text + "!";
  };
  thread.call(slow.done(), [&sequence] { return sequence("over"); });
  EXPECT_EQ(*slow.get(), "over!");
  thread.stop([] {});
}

TEST(ControlThread, EveryCallIsAnsweredWhateverTheMomentOfTheEnd) {
  for (int repeat = 0; repeat < 20; ++repeat) {
    ControlThread thread;
    thread.start();
    constexpr int kCallers = 4, kCalls = 200;
    std::atomic<int> answered{0}, refused{0};
    {
      std::vector<std::jthread> callers;
      for (int i = 0; i < kCallers; ++i) {
        callers.emplace_back([&] {
          for (int n = 0; n < kCalls; ++n) {
            thread.call<int>(
                [&](const Answer<int>& answer) {
                  ++answered;
                  if (!answer.ok()) ++refused;
                },
                [] { return Answer<int>(1); });
          }
        });
      }
      thread.stop([] {});
    }
    const Waited<int> late;
    thread.call(late.done(), [] { return Answer<int>(1); });
    EXPECT_EQ(late.get().error().error, Error::kDraining);
    EXPECT_EQ(answered, kCallers * kCalls);
  }
}

TEST(ControlThread, StopWaitsForOperationsThatAreOpen) {
  ControlThread thread;
  thread.start();
  std::promise<Later<int>> begun;
  std::atomic<int> got{0};
  thread.post([&] {
    const auto later = thread.begin_operation<int>();
    const auto sequence = [](Later<int> outcome, std::atomic<int>& out) -> Task<> {
      const int value = co_await outcome;
      out = value;
    };
    thread.run(sequence(later, got));
    begun.set_value(later);
  });
  const Later<int> later = begun.get_future().get();
  std::atomic<bool> stopping{false};
  std::jthread other([&] {
    while (!stopping) std::this_thread::yield();
    thread.end_operation(later, 5);
  });
  thread.stop([&] { stopping = true; });
  EXPECT_EQ(got, 5);
}

TEST(ControlThread, SleeperDoesNotWakeOnceTheThreadIsStopping) {
  bool woke = false;
  const auto held = std::make_shared<int>(1);
  ControlThread thread;
  thread.start();
  const auto sequence = [](ControlThread& on, std::shared_ptr<int>, bool& out) -> Task<> {
    auto over = on.sleep(std::chrono::hours(1));
    co_await over;
    out = true;
  };
  thread.post([&] { thread.run(sequence(thread, held, woke)); });
  thread.stop([] {});
  EXPECT_EQ(held.use_count(), 2);
  thread.destroy_sequences();
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_FALSE(woke);
}

}  // namespace
}  // namespace arenad::server
