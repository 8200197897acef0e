// Liveness by itself: when a session is lost, on an io_context that the test runs.
#include "server/core/control/liveness.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <thread>
#include <utility>
#include <vector>

#include "tests/core/client_process.h"
#include "tests/support/eventually.h"

namespace arenad::server {
namespace {

constexpr SessionId kSession{7};

class LivenessTest : public testing::Test {
 protected:
  ~LivenessTest() override {
    liveness_.forget_all();
    io_.restart();
    io_.run();  // what was cancelled
  }
  UniqueFd pidfd_of(const ClientProcess& process) {
    UniqueFd fd(static_cast<int>(::syscall(SYS_pidfd_open, process.pid(), 0)));
    EXPECT_TRUE(fd);
    return fd;
  }
  // Runs what is ready.
  void poll() {
    io_.restart();
    io_.poll();
  }
  bool loses(SessionId session, Liveness::Loss loss) {
    return test::eventually([&] {
      poll();
      return lost_ == std::vector{std::pair(session, loss)};
    });
  }

  boost::asio::io_context io_;
  std::vector<std::pair<SessionId, Liveness::Loss>> lost_;
  Liveness liveness_{
      io_, [this](SessionId session, Liveness::Loss loss) { lost_.emplace_back(session, loss); }};
};

TEST_F(LivenessTest, SessionIsLostWhenItsProcessEnds) {
  ClientProcess process("");
  liveness_.watch(kSession, pidfd_of(process));
  poll();
  EXPECT_TRUE(lost_.empty());
  process.kill();
  EXPECT_TRUE(loses(kSession, Liveness::Loss::kProcessDied));
}

TEST_F(LivenessTest, SessionLivesAsLongAsOneOfItsProcesses) {
  ClientProcess first(""), second("");
  liveness_.watch(kSession, pidfd_of(first));
  liveness_.watch_also(kSession, pidfd_of(second));
  first.kill();
  // Another session's loss is noticed, whose process has ended after the first one.
  ClientProcess other("");
  const SessionId others{8};
  liveness_.watch(others, pidfd_of(other));
  other.kill();
  EXPECT_TRUE(loses(others, Liveness::Loss::kProcessDied));
  lost_.clear();
  second.kill();
  EXPECT_TRUE(loses(kSession, Liveness::Loss::kProcessDied));
}

// What a client has sent meanwhile waits behind the grace's end.
TEST_F(LivenessTest, GraceThatEndedWhileTheDaemonStoodStillBeginsAnew) {
  liveness_.start_grace(kSession, 10);
  std::this_thread::sleep_for(std::chrono::seconds(1));  // the standstill
  poll();
  EXPECT_TRUE(lost_.empty());
  EXPECT_TRUE(loses(kSession, Liveness::Loss::kGraceOver));
}

TEST_F(LivenessTest, GraceThatEndsShortlyAfterAStandstillBeginsAnew) {
  liveness_.start_grace(kSession, 800);
  std::this_thread::sleep_for(std::chrono::milliseconds(750));
  poll();  // the heart's beat is late
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  poll();
  EXPECT_TRUE(lost_.empty());
  EXPECT_TRUE(loses(kSession, Liveness::Loss::kGraceOver));
}

TEST_F(LivenessTest, ForgottenSessionIsNotLost) {
  ClientProcess process("");
  liveness_.watch(kSession, pidfd_of(process));
  liveness_.watch_also(kSession, pidfd_of(process));
  liveness_.start_grace(kSession, 10);
  process.kill();
  liveness_.forget(kSession);
  liveness_.start_grace(SessionId{8}, 20);  // which is over later
  EXPECT_TRUE(loses(SessionId{8}, Liveness::Loss::kGraceOver));
}

TEST_F(LivenessTest, OneProcessThatCannotBeToldTakesNoMoreThanSomeDescriptors) {
  ClientProcess process("");
  liveness_.watch(kSession, pidfd_of(process));
  const int before = ::dup(0);
  ::close(before);  // the lowest that is free
  for (int i = 0; i < 100; ++i) liveness_.watch_also(kSession, pidfd_of(process));
  const int after = ::dup(0);
  ::close(after);
  EXPECT_LE(after - before, 16);
  process.kill();
  EXPECT_TRUE(loses(kSession, Liveness::Loss::kProcessDied));
}

TEST_F(LivenessTest, QuestionIsAskedUntilTheAnswerIsYes) {
  int asked = 0;
  liveness_.watch_by(kSession, [&] { return ++asked == 2; });
  EXPECT_TRUE(loses(kSession, Liveness::Loss::kProcessDied));
  EXPECT_EQ(asked, 2);
}

}  // namespace
}  // namespace arenad::server
