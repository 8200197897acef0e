// The launcher itself: nothing stays, and the log is shown when a test has failed.
#include "tests/support/daemon_process.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

namespace arenad::test {
namespace {

TEST(DaemonProcess, ServesWhenItIsMadeAndEndsWithZero) {
  DaemonProcess daemon({"--shards", "1"});
  EXPECT_TRUE(std::filesystem::is_socket(daemon.socket_dir() + "/arenad.sock"));
  EXPECT_NE(daemon.http_address().find("127.0.0.1:"), std::string::npos);
  EXPECT_EQ(daemon.stop(), 0) << daemon.log();
}

TEST(DaemonProcess, AddressesAreThoseOfTheNewestStart) {
  DaemonProcess daemon({"--shards", "1"});
  daemon.kill();
  EXPECT_FALSE(daemon.running());
  const std::size_t before = daemon.log().size();
  daemon.start();
  EXPECT_NE(daemon.log(before).find(daemon.http_address()), std::string::npos);
}

TEST(DaemonProcess, NothingOutlivesIt) {
  pid_t pid = -1;
  std::string directory;
  {
    const DaemonProcess daemon({"--shards", "1"});
    pid = daemon.pid();
    directory = daemon.socket_dir();
  }
  EXPECT_EQ(::kill(pid, 0), -1);
  EXPECT_FALSE(std::filesystem::exists(directory));
}

TEST(DaemonProcess, FlagThatIsWrongThrowsWithTheLog) {
  try {
    const DaemonProcess daemon({"--shrads", "1"});
    FAIL() << "a daemon with an unknown flag has started";
  } catch (const std::runtime_error& e) {
    EXPECT_NE(std::string(e.what()).find("--shrads"), std::string::npos) << e.what();
  }
}

TEST(DaemonProcess, DaemonOfATestThatIsKilledDies) {
  int to_test[2];
  ASSERT_EQ(::pipe(to_test), 0);
  const pid_t test = ::fork();
  if (test == 0) {
    const DaemonProcess daemon({"--shards", "1"});
    const pid_t pid = daemon.pid();
    [[maybe_unused]] const auto written = ::write(to_test[1], &pid, sizeof pid);
    ::pause();
    ::_exit(0);
  }
  pid_t daemon = -1;
  ASSERT_EQ(::read(to_test[0], &daemon, sizeof daemon), static_cast<ssize_t>(sizeof daemon));
  ::kill(test, SIGKILL);
  ::waitpid(test, nullptr, 0);
  // Gone, or a zombie whose adoptive parent has not looked yet.
  EXPECT_TRUE(eventually([&] {
    const std::string status = text_of_file("/proc/" + std::to_string(daemon) + "/stat");
    return status.empty() || status.find(") Z ") != std::string::npos;
  }));
  ::close(to_test[0]);
  ::close(to_test[1]);
}

}  // namespace
}  // namespace arenad::test
