#include "tests/support/daemon_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <exception>
#include <filesystem>
#include <iostream>
#include <stdexcept>
#include <string_view>
#include <utility>

extern char** environ;

namespace arenad::test {
namespace {

// A busy machine may take its time between two calls of a test: a session waits for its stream.
const std::pair<std::string, std::string> kDefaults[] = {{"--http", "127.0.0.1:0"},
                                                         {"--keepalive-grace-ms", "600000"}};

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  out.reserve(texts.size() + 1);
  for (std::string& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

// The test's own environment without what would configure a daemon, and `more`.
std::vector<std::string> environment_with(const std::vector<std::string>& more) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (!text.starts_with("HAKMEM_") && !text.starts_with("ARENAD_") &&
        !text.starts_with("NOTIFY_SOCKET="))
      all.emplace_back(text);
  }
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

pid_t spawn(std::vector<std::string> flags, const std::vector<std::string>& environment,
            const std::string& output) {
  flags.insert(flags.begin(), ARENAD_PROGRAM);
  std::vector<std::string> all = environment_with(environment);
  const auto argv = pointers(flags), envp = pointers(all);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) throw std::runtime_error("fork");
  if (pid > 0) return pid;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int out = ::open(output.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (::getppid() != parent || ::dup2(out, 1) < 0 || ::dup2(out, 2) < 0) ::_exit(127);
  ::execve(ARENAD_PROGRAM, argv.data(), envp.data());
  ::_exit(127);
}

int code_of(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

bool test_has_failed() {
  return std::uncaught_exceptions() > 0 ||
         (testing::UnitTest::GetInstance()->current_test_info() && testing::Test::HasFailure());
}

}  // namespace

Ended run_arenad(std::vector<std::string> flags, std::vector<std::string> environment) {
  const TemporaryDirectory directory;
  const std::string output = directory.path() + "/output";
  const pid_t pid = spawn(std::move(flags), environment, output);
  int status = 0;
  if (::waitpid(pid, &status, 0) != pid) throw std::runtime_error("waitpid");
  return {code_of(status), text_of_file(output)};
}

DaemonProcess::DaemonProcess(std::vector<std::string> flags, std::vector<std::string> environment)
    : flags_(std::move(flags)), environment_(std::move(environment)) {
  flags_.insert(flags_.begin(), {"--socket-dir", socket_dir()});
  for (const auto& [flag, value] : kDefaults)
    if (std::find(flags_.begin(), flags_.end(), flag) == flags_.end())
      flags_.insert(flags_.end(), {flag, value});
  // Other users may be its clients.
  std::filesystem::permissions(directory_.path(), std::filesystem::perms(0755));
  start();
}

DaemonProcess::~DaemonProcess() {
  kill();
  if (test_has_failed()) std::cerr << "The log of arenad:\n" << log() << "(end of the log)\n";
}

void DaemonProcess::start() {
  if (pid_ > 0) throw std::runtime_error("arenad runs already");
  log_before_start_ = log().size();
  pid_ = spawn(flags_, environment_, directory_.path() + "/log");
  pidfd_ = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
  try {
    become_ready();
  } catch (...) {
    kill();  // without a complete object there is no destructor
    throw;
  }
}

void DaemonProcess::become_ready() {
  const auto ready = [this] {
    if (!running()) throw std::runtime_error("arenad ended while it started:\n" + log());
    return log(log_before_start_).find(" ready: ") != std::string::npos;
  };
  if (!eventually(ready)) throw std::runtime_error("arenad is not ready:\n" + log());
}

void DaemonProcess::signal(int number) const {
  if (pid_ > 0) ::kill(pid_, number);
}

void DaemonProcess::kill() {
  signal(SIGKILL);
  wait();
}

int DaemonProcess::stop() {
  signal(SIGTERM);
  return wait();
}

int DaemonProcess::wait(std::chrono::milliseconds deadline) {
  pollfd end{pidfd_, POLLIN, 0};
  if (pid_ <= 0 || ::poll(&end, 1, static_cast<int>(deadline.count())) != 1) return -1;
  int status = 0;
  ::waitpid(std::exchange(pid_, -1), &status, 0);
  ::close(std::exchange(pidfd_, -1));
  return code_of(status);
}

bool DaemonProcess::running() const {
  pollfd end{pidfd_, POLLIN, 0};
  return pid_ > 0 && ::poll(&end, 1, 0) == 0;
}

std::string DaemonProcess::log(std::size_t from) const {
  const std::string text = text_of_file(directory_.path() + "/log");
  return text.substr(std::min(from, text.size()));
}

std::string DaemonProcess::address_after(const std::string& mark, std::size_t kept) const {
  const std::string text = log(log_before_start_);
  const auto at = text.find(mark);
  if (at == std::string::npos) throw std::runtime_error("no '" + mark + "' in the log:\n" + text);
  const auto begin = at + mark.size() - kept;
  return text.substr(begin, text.find('\n', begin) - begin);
}

}  // namespace arenad::test
