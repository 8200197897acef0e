// Workers: a failure in one thread ends the work of all.
//
// The failures are made on purpose, and are taken out of the test's result by hand: each of these
// tests runs the failing part in a child process, and looks at how the child ends.
#include "tests/support/workers.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <stdexcept>
#include <string>

#include "tests/support/eventually.h"

namespace arenad::test {
namespace {

// Exit codes of a child.
constexpr int kPassed = 10, kFailed = 11, kHung = -1;

// Runs `part` as a child process: kPassed or kFailed as googletest sees it, kHung at the deadline.
int outcome_of(const std::function<void()>& part) {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    std::freopen("/dev/null", "w", stdout);  // what fails here is meant to
    part();
    ::_exit(testing::Test::HasFailure() ? kFailed : kPassed);
  }
  int status = 0;
  if (!eventually([&] { return ::waitpid(child, &status, WNOHANG) == child; })) {
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    return kHung;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST(Workers, AllBodiesRunAndJoinWaitsForThem) {
  std::atomic<int> ran{0};
  Workers workers;
  for (int i = 0; i < 4; ++i) workers.start([&] { ++ran; });
  workers.join();
  EXPECT_EQ(ran, 4);
}

TEST(Workers, FailedAssertionInOneEndsTheOthers) {
  EXPECT_EQ(outcome_of([] {
              Workers workers;
              workers.start([&] {
                while (workers.go_on()) std::this_thread::yield();
              });
              workers.start([] { ASSERT_TRUE(false); });
              workers.join();
            }),
            kFailed);
}

TEST(Workers, FailedAssertionOfTheTestItselfEndsThemToo) {
  EXPECT_EQ(outcome_of([] {
              Workers workers;
              workers.start([&] {
                while (workers.go_on()) std::this_thread::yield();
              });
              ASSERT_TRUE(false);
            }),
            kFailed);
}

TEST(Workers, NobodyWaitsForOneThatFailed) {
  EXPECT_EQ(outcome_of([] {
              Workers workers;
              MeetingPoint meeting(workers, 2);
              workers.start([&] { EXPECT_FALSE(meeting.arrive_and_wait()); });
              workers.start([&] {
                ASSERT_TRUE(false);
                meeting.arrive_and_wait();
              });
              EXPECT_FALSE(workers.wait_until([] { return false; }));
              workers.join();
            }),
            kFailed);
}

TEST(Workers, ExceptionOfABodyIsAFailureAndEndsTheOthers) {
  EXPECT_EQ(outcome_of([] {
              Workers workers;
              workers.start([&] {
                while (workers.go_on()) std::this_thread::yield();
              });
              workers.start([] { throw std::runtime_error("thrown on purpose"); });
              workers.join();
            }),
            kFailed);
}

TEST(Workers, ConditionThatNeverHoldsIsAFailure) {
  EXPECT_EQ(outcome_of([] {
              const Workers workers;
              EXPECT_FALSE(workers.wait_until([] { return false; }, std::chrono::milliseconds(10)));
            }),
            kFailed);
}

TEST(MeetingPoint, NobodyGoesOnBeforeAllHaveCome) {
  constexpr int kThreads = 3, kMeetings = 200;
  Workers workers;
  MeetingPoint meeting(workers, kThreads);
  std::atomic<int> came{0};
  for (int i = 0; i < kThreads; ++i) {
    workers.start([&] {
      for (int m = 1; m <= kMeetings; ++m) {
        ++came;
        ASSERT_TRUE(meeting.arrive_and_wait());
        ASSERT_GE(came, m * kThreads);
      }
    });
  }
  workers.join();
  EXPECT_EQ(came, kThreads * kMeetings);
}

}  // namespace
}  // namespace arenad::test
