// ClientProcess: a running core_client.
//
// Spawned, never forked into: a thread sanitizer does not survive work after fork in a process with
// threads. Threads: one test thread. Crash: the destructor kills what still runs.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

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
    from_ = ::fdopen(out[0], "r");
  }
  ~ClientProcess() {
    kill();
    ::close(to_);
    std::fclose(from_);
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
    char answer[8192] = {};
    if (std::fgets(answer, sizeof answer, from_) == nullptr) return "no answer";
    std::string text = answer;
    if (!text.empty() && text.back() == '\n') text.pop_back();
    return text;
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
  std::FILE* from_ = nullptr;
};

}  // namespace arenad::server
