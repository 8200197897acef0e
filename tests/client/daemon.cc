#include "tests/client/daemon.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <vector>

extern char** environ;

namespace arenad::client {

bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds deadline) {
  const auto end = std::chrono::steady_clock::now() + deadline;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));  // between two looks
  }
  return true;
}

Daemon& Daemon::shared() {
  static Daemon daemon;
  return daemon;
}

void Daemon::start(const std::vector<std::string>& more) {
  if (pid_ > 0) return;
  if (directory_.empty()) {
    std::string pattern =
        "/tmp/arenad-client-XXXXXX";  // short: a socket's path has at most 107 bytes
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
    directory_ = pattern + "/s";
    ::mkdir(directory_.c_str(), 0755);
  }
  const std::string sockets = directory_, log_file = directory_ + "/../log";

  std::vector<std::string> words{ARENAD, "--socket-dir", sockets,      "--shards", "2", "--http",
                                 "",     "--listen",     "127.0.0.1:0"};
  words.insert(words.end(), more.begin(), more.end());
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 1, log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND,
                                     0600);
  ::posix_spawn_file_actions_adddup2(&actions, 1, 2);
  const int failed = ::posix_spawn(&pid_, ARENAD, &actions, nullptr, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) throw std::runtime_error("posix_spawn of " ARENAD);

  const auto ready = Client::connect(directory_, {.wait_ready_ms = 20'000});
  if (!ready) throw std::runtime_error(ready.error().text() + "\n" + log());
}

int Daemon::stop() {
  if (pid_ <= 0) return 0;
  ::kill(pid_, SIGTERM);
  int status = -1;
  if (!eventually([&] { return ::waitpid(pid_, &status, WNOHANG) == pid_; },
                  std::chrono::seconds(20))) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, &status, 0);
    status = -1;
  }
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void Daemon::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

Daemon::~Daemon() {
  stop();
  std::error_code ignored;
  if (!directory_.empty())
    std::filesystem::remove_all(std::filesystem::path(directory_).parent_path(), ignored);
}

std::string Daemon::tcp_target() const {
  const std::string text = log(), line = "serving on 127.0.0.1:";
  const auto at = text.find(line);
  if (at == std::string::npos) throw std::runtime_error("no TCP address in the log:\n" + text);
  const auto start = at + line.size() - std::string("127.0.0.1:").size();
  return text.substr(start, text.find('\n', at) - start);
}

std::string Daemon::log() const {
  std::ostringstream text;
  text << std::ifstream(directory_ + "/../log").rdbuf();
  return text.str();
}

namespace {

class DaemonEnvironment : public testing::Environment {
  void SetUp() override { Daemon::shared().start(); }
  void TearDown() override { EXPECT_EQ(Daemon::shared().stop(), 0) << Daemon::shared().log(); }
};
const auto* const registered = testing::AddGlobalTestEnvironment(new DaemonEnvironment);

}  // namespace

void ClientTest::SetUp() {
  client = connect();
  arena_name = testing::UnitTest::GetInstance()->current_test_info()->name();
  std::replace(arena_name.begin(), arena_name.end(), '/', '-');  // of a test with parameters
  must(client.create_arena(arena_name, arena_options));
}

void ClientTest::TearDown() {
  // Whatever a test held went back with its sessions.
  EXPECT_TRUE(eventually([&] { return facts().held_blocks == 0 && facts().sessions == 0; }))
      << facts().held_blocks << " blocks still held, " << facts().sessions
      << " sessions still attached";
  const auto report = must(Admin(client).audit(arena_name));
  EXPECT_TRUE(report.exact) << (report.arenas.empty() || report.arenas[0].findings.empty()
                                    ? ""
                                    : report.arenas[0].findings[0]);
  EXPECT_EQ(report.p0_counter_mismatch, 0u);
  EXPECT_TRUE(client.delete_arena(arena_name).ok());
}

Client ClientTest::connect(std::uint32_t shard) const {
  return must(Client::connect(Daemon::shared().directory(), {.shard = shard}));
}

Session ClientTest::open(const Client& c, const std::string& name) const {
  return must(Session::open(c, {.name = name}));
}

ClientTest::Attached ClientTest::attach(AttachMode mode, std::uint32_t shard) const {
  Attached attached{open(client), {}};
  attached.arena = must(attached.session.attach(arena_name, mode, {.shard = shard}));
  return attached;
}

ArenaInfo ClientTest::facts() const { return must(client.get_arena(arena_name)); }

}  // namespace arenad::client
