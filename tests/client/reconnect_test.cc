// The daemon dies and comes back.
#include <signal.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>
#include <vector>

#include "client/lib/client_state.h"
#include "client/lib/keep_alive.h"
#include "client/lib/target.h"
#include "tests/client/client_fixture.h"

namespace arenad::client {
namespace {

TEST(Reconnect, DaemonWithoutAMemoryLosesTheSessionAndSaysSo) {
  DaemonProcess daemon({"--shards", "2"});
  const Client client = must(Client::connect(daemon.socket_dir()));
  must(client.create_arena("frames", {.capacity_bytes = 64 << 20}));
  Session session = must(Session::open(client));
  const auto arena = must(session.attach("frames", AttachMode::kPeer));
  std::vector<Block> blocks;
  for (int i = 0; i < 1000; ++i) blocks.push_back(must(arena.allocate(256)));
  std::memset(blocks[0].data(), 42, 256);
  daemon.kill();
  EXPECT_TRUE(eventually([&] { return session.standing() == SessionStanding::kReconnecting; }));
  EXPECT_FALSE(session.alive());
  blocks.resize(500);
  for (int i = 0; i < 500; ++i) blocks.push_back(must(arena.allocate(256)));  // from what it holds
  daemon.start();
  EXPECT_TRUE(eventually([&] { return session.standing() == SessionStanding::kLost; }));
  const Status refused = arena.allocate(256).error();
  EXPECT_EQ(refused.reason, Error::kUnknownSession);
  EXPECT_NE(refused.message.find("open a new one"), std::string::npos);
  EXPECT_EQ(arena.try_allocate(256).error(), Error::kUnknownSession);
  EXPECT_EQ(blocks[0].data()[100], std::byte{42});
  EXPECT_EQ(session.attach("frames", AttachMode::kPeer).error().reason, Error::kUnknownSession);
  blocks.clear();

  Session fresh = must(Session::open(client));  // over the same connections
  must(client.create_arena("frames", {.capacity_bytes = 64 << 20}));
  EXPECT_TRUE(must(fresh.attach("frames", AttachMode::kPeer)).allocate(256).ok());
}

TEST(Reconnect, LeaseWaitsForTheDaemonUpToTheCallTimeout) {
  DaemonProcess daemon({"--shards", "2"});
  const Client client = must(Client::connect(daemon.socket_dir(), {.call_timeout_ms = 3000}));
  must(client.create_arena("frames", {.capacity_bytes = 64 << 20}));
  Session session = must(Session::open(client));
  const auto arena = must(session.attach("frames", AttachMode::kPeer));
  const Block kept = must(arena.allocate(64));  // so that its slab stays with the heap
  daemon.kill();
  const auto begin = std::chrono::steady_clock::now();
  const Status refused = arena.allocate(1 << 20).error();
  EXPECT_EQ(refused.code, Code::kUnavailable);
  EXPECT_NE(refused.message.find("daemon"), std::string::npos) << refused.text();
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(2900));
  EXPECT_TRUE(arena.allocate(64).ok());
}

// The daemon stands still after it has opened the session, and before it confirms the stream.
TEST(Reconnect, StreamThatIsNotConfirmedInTimeIsUnavailable) {
  struct Nothing final : KeepAlive::Listener {
    void broken() override {}
    Status back() override { return {}; }
    void lost() override {}
    void evicted() override {}
    void trim(ArenaId) override {}
    void deleted(ArenaId, const std::string&) override {}
  } listener;
  DaemonProcess daemon;
  ClientState state(parse_target(daemon.socket_dir()), {.call_timeout_ms = 3000});
  ASSERT_TRUE(state.connect().ok());
  v1::OpenSessionRequest request;
  request.set_name("test");
  v1::OpenSessionResponse opened;
  ASSERT_TRUE(state.call(state.sessions(), &v1::Sessions::Stub::OpenSession, request, opened).ok());
  daemon.signal(SIGSTOP);
  KeepAlive keep_alive;
  const Status status = keep_alive.start(state, opened.session(), listener);
  daemon.signal(SIGCONT);
  EXPECT_EQ(status.code, Code::kUnavailable) << status.text();
  EXPECT_NE(status.message.find("3000 ms"), std::string::npos) << status.text();
}

// A connection that is not accepted in two seconds ended all calls that waited for it.
TEST(Reconnect, CallWaitsForABusyDaemonAsLongAsItMay) {
  DaemonProcess daemon;
  daemon.signal(SIGSTOP);
  const Status refused = Client::connect(daemon.socket_dir(), {.call_timeout_ms = 3000}).error();
  daemon.signal(SIGCONT);
  EXPECT_NE(refused.message.find("Deadline Exceeded"), std::string::npos) << refused.text();
}

// A daemon that keeps its arenas in a directory of the test's.
class Remembered : public testing::Test {
 protected:
  void SetUp() override {
    client = must(Client::connect(daemon.socket_dir()));
    must(client.create_arena("frames", {.capacity_bytes = 256 << 20}));
  }
  void TearDown() override {
    EXPECT_TRUE(eventually([&] { return must(client.get_arena("frames")).held_blocks == 0; }));
    EXPECT_TRUE(must(Admin(client).audit()).exact);
    EXPECT_EQ(daemon.stop(), 0) << daemon.log();
  }

  TemporaryDirectory state{test::kMemoryFiles};
  DaemonProcess daemon{{"--shards", "2", "--state-dir", state.path()}};
  Client client;
};

TEST_F(Remembered, SessionGoesOnWhereItWas) {
  Session session = must(Session::open(client));
  const auto arena = must(session.attach("frames", AttachMode::kPeer));
  std::vector<Block> blocks;
  for (int i = 0; i < 5000; ++i) blocks.push_back(must(arena.allocate(256)));
  for (int round = 0; round < 3; ++round) {
    daemon.kill();
    EXPECT_TRUE(eventually([&] { return session.standing() == SessionStanding::kReconnecting; }));
    blocks.resize(4000);
    while (blocks.size() < 4500) blocks.push_back(must(arena.allocate(256)));
    // What it has not leased is waited for.
    Workers later;
    later.start([&] { blocks.push_back(must(arena.allocate(5 << 20))); });
    daemon.start();
    later.join();
    EXPECT_EQ(session.standing(), SessionStanding::kConnected);
    while (blocks.size() < 8000) blocks.push_back(must(arena.allocate(256)));
    EXPECT_TRUE(must(Admin(client).audit()).exact);
    EXPECT_EQ(must(client.get_arena("frames")).held_blocks, blocks.size());
  }
  blocks.clear();
}

TEST_F(Remembered, GrowingThreadsNoticeNothingButTime) {
  Session session = must(Session::open(client));
  const auto arena = must(session.attach("frames", AttachMode::kPeer));
  Workers workers;
  for (int t = 0; t < 2; ++t)
    workers.start([&] {
      while (workers.go_on()) {
        std::vector<Block> blocks;
        for (int i = 0; i < 3000; ++i) {
          auto block = arena.allocate(8 + i * 3);
          ASSERT_TRUE(block.ok()) << block.error().text();
          blocks.push_back(std::move(*block));
        }
        std::vector<Ref> refs;
        for (Block& block : blocks) refs.push_back(block.release());
        EXPECT_EQ(must(arena.free(refs)).errors.size(), 0u);
      }
    });
  for (int i = 0; i < 3; ++i) {
    daemon.kill();
    daemon.start();
    EXPECT_TRUE(eventually([&] { return session.standing() == SessionStanding::kConnected; }));
  }
  workers.stop();
  workers.join();
}

TEST_F(Remembered, SessionThatWasClosedWhileTheDaemonWasAwayEndsWhenItIsBack) {
  Session session = must(Session::open(client));
  const auto arena = must(session.attach("frames", AttachMode::kPeer));
  const Block kept = must(arena.allocate(256));  // so that the process still has the memory
  daemon.kill();
  EXPECT_EQ(session.close().error().code, Code::kUnavailable);
  daemon.start();
  EXPECT_TRUE(eventually([&] {
    const auto facts = client.get_arena("frames");
    return facts.ok() && facts->held_blocks == 0;
  }));
  EXPECT_TRUE(must(Session::open(client)).attach("frames", AttachMode::kPeer).ok());
}

TEST_F(Remembered, ArenaThatIsGoneDoesNotStopTheOthers) {
  must(client.create_arena("gone", {.capacity_bytes = 64 << 20}));
  Session session = must(Session::open(client));
  const auto gone = must(session.attach("gone", AttachMode::kPeer));
  const auto arena = must(session.attach("frames", AttachMode::kPeer));
  Block lost = must(gone.allocate(256));
  const Block kept = must(arena.allocate(256));
  std::memset(lost.data(), 7, 256);
  daemon.kill();
  for (const char* kind : {".ledger", ".control", ".data"})
    ASSERT_TRUE(std::filesystem::remove(state.path() + "/gone" + kind)) << kind;
  // Waits for a lease while the daemon is away, and must hear of the arena, not of a deadline.
  Status waited;
  std::thread waits([&] { waited = gone.allocate(5 << 20).error(); });
  daemon.start();
  EXPECT_TRUE(eventually([&] { return session.standing() == SessionStanding::kConnected; }));
  waits.join();
  EXPECT_EQ(waited.reason, Error::kUnknownArena) << waited.text();
  const auto more = arena.allocate(5 << 20);  // needs a lease
  ASSERT_TRUE(more.ok()) << more.error().text();
  EXPECT_TRUE(eventually([&] { return !gone.allocate(256).ok(); }));
  EXPECT_EQ(gone.allocate(256).error().reason, Error::kUnknownArena);
  EXPECT_EQ(lost.data()[255], std::byte{7}) << "the mapping goes with the last Block";
  must(client.create_arena("gone", {.capacity_bytes = 64 << 20}));
  const auto again = must(session.attach("gone", AttachMode::kPeer));
  EXPECT_TRUE(again.allocate(256).ok());
}

TEST(Reconnect, RemoteSessionIsLostWithItsDaemonToo) {
  DaemonProcess daemon({"--shards", "2"});
  const Client client = must(Client::connect(daemon.socket_dir()));
  Session session = must(Session::open(client));
  daemon.kill();
  daemon.start();
  EXPECT_TRUE(eventually([&] { return session.standing() == SessionStanding::kLost; }));
  EXPECT_EQ(session.attach("any", AttachMode::kRemote).error().reason, Error::kUnknownSession);
}

}  // namespace
}  // namespace arenad::client
