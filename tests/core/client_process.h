// ClientProcess: a running core_client.
//
// Invariants: the process is spawned. A forked child must not do any work: a thread sanitizer does
// not survive work after fork in a process with threads.
// Threads: one test thread. Crash: the destructor kills the process if it still runs.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <vector>

#include "tests/support/eventually.h"

extern char** environ;

namespace arenad::server {

class ClientProcess {
 public:
  // uid 0: stays the user it is.
  explicit ClientProcess(const std::string& socket_path, unsigned uid = 0) {
    int in[2], out[2];
    EXPECT_EQ(::pipe2(in, O_CLOEXEC), 0);
    EXPECT_EQ(::pipe2(out, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    ::posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    std::vector<std::string> words{CORE_CLIENT, socket_path};
    if (uid != 0) words.push_back(std::to_string(uid));
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    EXPECT_EQ(::posix_spawn(&pid_, CORE_CLIENT, &actions, nullptr, argv.data(), environ), 0);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(in[0]);
    ::close(out[1]);
    to_ = in[1];
    from_ = out[0];
  }
  ~ClientProcess() {
    kill();
    ::close(to_);
    ::close(from_);
  }
  ClientProcess(const ClientProcess&) = delete;
  ClientProcess& operator=(const ClientProcess&) = delete;

  std::string command(const std::string& line) {
    send(line);
    return receive();
  }
  // The two halves of a command.
  void send(const std::string& line) {
    const std::string bytes = line + "\n";
    EXPECT_EQ(::write(to_, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  }
  std::string receive() {
    std::string line;
    for (char c = 0;; line += c) {
      pollfd readable{from_, POLLIN, 0};
      const int deadline_ms = static_cast<int>(std::chrono::milliseconds(test::kDeadline).count());
      if (::poll(&readable, 1, deadline_ms) != 1 || ::read(from_, &c, 1) != 1) return "no answer";
      if (c == '\n') return line;
    }
  }
  std::string hand_off(const std::string& token) { return command("token " + hex(token)); }

  pid_t pid() const { return pid_; }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  // Dead, but nobody has waited for it: a zombie.
  void kill_without_wait() { ::kill(pid_, SIGKILL); }

  static std::string hex(const std::string& bytes) {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    for (const char c : bytes) {
      text += kDigits[static_cast<unsigned char>(c) >> 4];
      text += kDigits[c & 15];
    }
    return text;
  }

 private:
  pid_t pid_ = -1;
  int to_ = -1;
  int from_ = -1;
};

}  // namespace arenad::server
