// The daemon dies and comes back.
#include <cstring>
#include <thread>
#include <vector>

#include "tests/client/daemon.h"

namespace arenad::client {
namespace {

TEST(Reconnect, DaemonWithoutAMemoryLosesTheSessionAndSaysSo) {
  Daemon daemon;
  daemon.start();
  const Client client = must(Client::connect(daemon.directory(), {.call_timeout_ms = 3000}));
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
  for (int i = 0; i < 500; ++i) blocks.push_back(must(arena.allocate(256)));   // from what it holds
  daemon.start();
  EXPECT_TRUE(eventually([&] { return session.standing() == SessionStanding::kLost; }));
  const Status refused = arena.allocate(256).error();
  EXPECT_EQ(refused.reason, Error::kUnknownSession);
  EXPECT_NE(refused.message.find("open a new one"), std::string::npos);
  EXPECT_EQ(arena.try_allocate(256).error(), Error::kUnknownSession);
  EXPECT_EQ(blocks[0].data()[100], std::byte{42});
  EXPECT_EQ(session.attach("frames", AttachMode::kPeer).error().reason, Error::kUnknownSession);
  blocks.clear();

  Session fresh = must(Session::open(client));   // over the same connections
  must(client.create_arena("frames", {.capacity_bytes = 64 << 20}));
  EXPECT_TRUE(must(fresh.attach("frames", AttachMode::kPeer)).allocate(256).ok());
}

TEST(Reconnect, LeaseWaitsForTheDaemonUpToTheCallTimeout) {
  Daemon daemon;
  daemon.start();
  const Client client = must(Client::connect(daemon.directory(), {.call_timeout_ms = 300}));
  must(client.create_arena("frames", {.capacity_bytes = 64 << 20}));
  Session session = must(Session::open(client));
  const auto arena = must(session.attach("frames", AttachMode::kPeer));
  (void)must(arena.allocate(64));
  daemon.kill();
  const auto begin = std::chrono::steady_clock::now();
  const Status refused = arena.allocate(1 << 20).error();
  EXPECT_EQ(refused.code, Code::kUnavailable);
  EXPECT_NE(refused.message.find("daemon"), std::string::npos) << refused.text();
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(250));
  EXPECT_TRUE(arena.allocate(64).ok());
}

TEST(Reconnect, RemoteSessionIsLostWithItsDaemonToo) {
  Daemon daemon;
  daemon.start();
  const Client client = must(Client::connect(daemon.directory()));
  Session session = must(Session::open(client));
  daemon.kill();
  daemon.start();
  EXPECT_TRUE(eventually([&] { return session.standing() == SessionStanding::kLost; }));
  EXPECT_EQ(session.attach("any", AttachMode::kRemote).error().reason, Error::kUnknownSession);
}

}  // namespace
}  // namespace arenad::client
