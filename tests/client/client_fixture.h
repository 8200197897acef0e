// ClientTest: tests of the client library against a daemon that was really started.
//
// Purpose: one daemon for a test program, and a fixture with an arena in it.
// Invariants: the daemon ends with exit code 0 after SIGTERM. Every test leaves its arena with
// nothing held and an exact audit. Both are asserted.
// Threads: one. Crash: the daemon dies with the test program.
#pragma once

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "arenad/arenad.h"
#include "tests/support/daemon_process.h"
#include "tests/support/workers.h"

namespace arenad::client {

using test::DaemonProcess;
using test::eventually;
using test::in_another_thread;
using test::TemporaryDirectory;
using test::Workers;

// The daemon of this test program: two shards, and a TCP address.
DaemonProcess& shared_daemon();

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

inline std::vector<Ref> refs_of(const std::vector<AllocatedBlock>& blocks) {
  std::vector<Ref> refs;
  for (const AllocatedBlock& block : blocks) refs.push_back(block.ref);
  return refs;
}

class ClientTest : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;  // everything given back, audit exact

  Client connect(ShardId shard = kAnyShard) const;
  Session open(const Client& client, const std::string& name = "test") const;
  // A session and its handle in one go; the session must live as long as it is used.
  struct Attached {
    Session session;
    ArenaHandle arena;
  };
  Attached attach(AttachMode mode, std::uint16_t shard = 0) const;
  ArenaOptions arena_options{.capacity_bytes =
                                 64 << 20};  // change it in a derived fixture's constructor
  ArenaInfo facts() const;                   // of the arena, now

  Client client;
  std::string arena_name;
};

}  // namespace arenad::client
