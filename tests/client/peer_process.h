// PeerProcess: a peer in another process, which runs peer_program.cc.
//
// Purpose: a test tells the peer what to do, stops it and kills it.
// Threads: one. Crash: the child ends when its stdin ends.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <stdexcept>
#include <string>

#include "allocator/base/unique_fd.h"
#include "allocator/format/ids.h"

extern char** environ;

namespace arenad::client {

class PeerProcess {
 public:
  PeerProcess(const std::string& directory, const std::string& arena) {
    int to[2], from[2];
    if (::pipe2(to, O_CLOEXEC) != 0 || ::pipe2(from, O_CLOEXEC) != 0)
      throw std::runtime_error("pipe2");
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, to[0], 0);
    ::posix_spawn_file_actions_adddup2(&actions, from[1], 1);
    std::string program = CLIENT_PEER, dir = directory, name = arena;
    char* arguments[] = {program.data(), dir.data(), name.data(), nullptr};
    const int failed = ::posix_spawn(&pid_, CLIENT_PEER, &actions, nullptr, arguments, environ);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(to[0]);
    ::close(from[1]);
    out_ = UniqueFd(to[1]);
    in_ = UniqueFd(from[0]);
    if (failed != 0) throw std::runtime_error("posix_spawn of " CLIENT_PEER);
    const std::string hello = line();
    if (!hello.starts_with("session ")) throw std::runtime_error(hello);
    session_ = {static_cast<std::uint16_t>(std::stoul(hello.substr(8)))};
  }
  PeerProcess(const PeerProcess&) = delete;
  ~PeerProcess() {
    out_ = UniqueFd();
    if (pid_ > 0) {
      ::kill(pid_, SIGCONT);
      ::waitpid(pid_, nullptr, 0);
    }
  }

  SessionId session() const { return session_; }
  std::string ask(const std::string& command) {
    say(command);
    return line();
  }
  Ref allocate(std::uint64_t size, const std::string& text) {
    return {std::stoull(ask("allocate " + std::to_string(size) + " " + text))};
  }
  std::string ask(const std::string& verb, Ref ref) {
    return ask(verb + " " + std::to_string(ref.value));
  }
  void say(const std::string& command) {
    const std::string text = command + "\n";
    if (::write(out_.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
      throw std::runtime_error("the peer process is gone");
  }
  void kill() {
    ::kill(pid_, SIGKILL);
    wait();
  }
  void wait() {
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  void stop() {
    ::kill(pid_, SIGSTOP);
    ::waitpid(pid_, nullptr, WUNTRACED);
  }
  void go_on() { ::kill(pid_, SIGCONT); }

 private:
  std::string line() {
    std::string text;
    for (char c = 0; ::read(in_.get(), &c, 1) == 1 && c != '\n';) text += c;
    return text;
  }

  pid_t pid_ = -1;
  UniqueFd out_, in_;
  SessionId session_;
};

}  // namespace arenad::client
