// A really started arenad for tests of the client library, and a fixture with an arena in it.
//
// Purpose: Daemon (a child process on a socket directory of its own) and ClientTest.
// Invariants: one shared daemon a test program, with two shards, and those that tests start for
// themselves to kill. The shared one must end with exit 0 after SIGTERM, and every test must leave
// its
//   arena with an exact audit: both are asserted.
// Threads: one. Crash: a test program that is killed leaves its daemon to whoever ends the process
// group, as ctest does.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <chrono>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "arenad/arenad.h"

namespace arenad::client {

class Daemon {
 public:
  static Daemon& shared();  // the test program's
  ~Daemon();

  // `more` are arguments beside the usual ones. Again after kill(): on the same sockets.
  void start(const std::vector<std::string>& more = {});
  void kill();  // SIGKILL
  // SIGTERM; the exit code, or -1 when it took longer than 20 s (it is killed then).
  int stop();
  const std::string& directory() const { return directory_; }
  std::string tcp_target() const;  // "127.0.0.1:36299"
  std::string log() const;

 private:
  std::string directory_;
  pid_t pid_ = -1;
};

// Asks again and again until it is true; false at the deadline.
bool eventually(const std::function<bool()>& condition,
                std::chrono::milliseconds deadline = std::chrono::seconds(10));

// The value, or the test fails with the status and ends here.
template <class T>
T must(Answer<T> answer) {
  if (!answer.ok()) {
    ADD_FAILURE() << answer.error().text();
    throw std::runtime_error(
        answer.error().text());  // gtest reports it and goes on with the next test
  }
  return std::move(*answer);
}

class ClientTest : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;  // everything given back, audit exact

  Client connect(std::uint32_t shard = kAnyShard) const;
  Session open(const Client& client, const std::string& name = "test") const;
  // A session and its handle in one go; the session must live as long as it is used.
  struct Attached {
    Session session;
    ArenaHandle arena;
  };
  Attached attach(AttachMode mode, std::uint32_t shard = 0) const;
  ArenaOptions arena_options{.capacity_bytes =
                                 64 << 20};  // change it in a derived fixture's constructor
  ArenaInfo facts() const;                   // of the arena, now

  Client client;
  std::string arena_name;
};

}  // namespace arenad::client
