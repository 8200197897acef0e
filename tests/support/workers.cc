#include "tests/support/workers.h"

#include <gtest/gtest.h>

#include <exception>
#include <utility>

namespace arenad::test {
namespace {

std::atomic<std::uint64_t> g_failures{0};  // pairs with itself: the listener and failures()

// Hears of each failed assertion, in the thread in which it fails.
class FailureCounter : public testing::EmptyTestEventListener {
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (result.failed()) g_failures.fetch_add(1, std::memory_order_release);
  }
};

}  // namespace

Workers::Workers() {
  // googletest owns the listener.
  static const bool listens = [] {
    testing::UnitTest::GetInstance()->listeners().Append(new FailureCounter);
    return true;
  }();
  (void)listens;
  failures_before_ = failures();
}

Workers::~Workers() {
  stop();
  join();
}

void Workers::start(std::function<void()> body) {
  threads_.emplace_back([body = std::move(body)] {
    try {
      body();
    } catch (const std::exception& e) {
      ADD_FAILURE() << "a worker threw: " << e.what();
    }
  });
}

void Workers::join() {
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

bool Workers::wait_until(const std::function<bool()>& condition,
                         std::chrono::milliseconds deadline) const {
  bool held = false;
  if (!eventually([&] { return (held = condition()) || !go_on(); }, deadline))
    ADD_FAILURE() << "a condition that a worker waits for did not come true";
  return held;
}

std::uint64_t Workers::failures() { return g_failures.load(std::memory_order_acquire); }

void in_another_thread(std::function<void()> body) {
  Workers worker;
  worker.start(std::move(body));
  worker.join();
}

bool MeetingPoint::arrive_and_wait() {
  // Arrivals are counted for ever: the n-th belongs to meeting n / count.
  const std::size_t meeting = arrived_.fetch_add(1, std::memory_order_acq_rel) / count_;
  const std::size_t complete = (meeting + 1) * count_;
  return workers_.wait_until([&] { return arrived_.load(std::memory_order_acquire) >= complete; });
}

}  // namespace arenad::test
