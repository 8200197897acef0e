#include "tests/client/client_fixture.h"

#include <algorithm>
#include <cstddef>
#include <iostream>
#include <memory>

namespace arenad::client {
namespace {

std::unique_ptr<DaemonProcess> g_daemon;

class DaemonEnvironment : public testing::Environment {
  void SetUp() override {
    g_daemon = std::make_unique<DaemonProcess>(std::vector<std::string>{
        "--shards", "2", "--http", "", "--listen-plaintext", "127.0.0.1:0"});
  }
  void TearDown() override {
    EXPECT_EQ(g_daemon->stop(), 0) << g_daemon->log();
    g_daemon.reset();
  }
};
const auto* const registered = testing::AddGlobalTestEnvironment(new DaemonEnvironment);

// A test that fails shows what the daemon said meanwhile.
class ShowsTheLog : public testing::EmptyTestEventListener {
  void OnTestStart(const testing::TestInfo&) override { before_ = g_daemon->log().size(); }
  void OnTestEnd(const testing::TestInfo& test) override {
    if (test.result()->Failed()) std::cerr << "The log of arenad:\n" << g_daemon->log(before_);
  }
  std::size_t before_ = 0;
};
const bool shows = [] {
  testing::UnitTest::GetInstance()->listeners().Append(new ShowsTheLog);
  return true;
}();

}  // namespace

DaemonProcess& shared_daemon() { return *g_daemon; }

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

Client ClientTest::connect(ShardId shard) const {
  return must(Client::connect(shared_daemon().socket_dir(), {.shard = shard}));
}

Session ClientTest::open(const Client& c, const std::string& name) const {
  return must(Session::open(c, {.name = name}));
}

ClientTest::Attached ClientTest::attach(AttachMode mode, std::uint16_t shard) const {
  Attached attached{open(client), {}};
  attached.arena = must(attached.session.attach(arena_name, mode, {.shard = {shard}}));
  return attached;
}

ArenaInfo ClientTest::facts() const { return must(client.get_arena(arena_name)); }

}  // namespace arenad::client
