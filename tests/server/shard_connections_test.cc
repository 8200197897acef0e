// Whose call it is, by the name that gRPC has for its connection; and how long a number rests.
#include "server/rpc/connections/shard_connections.h"

#include <gtest/gtest.h>

namespace arenad::server {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;

ShardConnections::Process process_of(std::uint32_t uid) {
  CallerProcess process;
  process.uid = uid;
  return std::make_shared<const CallerProcess>(std::move(process));
}

TEST(ShardConnections, ConnectionIsFoundByItsDescriptorsNumber) {
  ShardConnections connections;
  connections.connected(17, process_of(7));
  connections.connected(1, process_of(8));
  EXPECT_EQ(connections.of("fd:17")->uid, 7u);
  EXPECT_EQ(connections.of("fd:1")->uid, 8u);
  for (const char* nobody : {"fd:171", "fd:", "fd:x", "", "ipv4:127.0.0.1:17", "unix:", "17"})
    EXPECT_EQ(connections.of(nobody), nullptr) << nobody;
}

TEST(ShardConnections, EndedConnectionIsNobodys) {
  ShardConnections connections;
  connections.connected(17, process_of(7));
  connections.disconnected(17, [] {});
  EXPECT_EQ(connections.of("fd:17"), nullptr);
  connections.connected(17, process_of(9));
  EXPECT_EQ(connections.of("fd:17")->uid, 9u);
}

TEST(ShardConnections, NumberRestsUntilTheQueueWasEmptyTwiceASecondApart) {
  ShardConnections connections;
  int rested = 0;
  connections.connected(17, process_of(7));
  connections.disconnected(17, [&] { ++rested; });
  connections.queue_is_empty(5 * kSecond);
  connections.queue_is_empty(6 * kSecond - 1);
  EXPECT_EQ(rested, 0);
  connections.disconnected(18, [&] { rested += 10; });
  connections.queue_is_empty(6 * kSecond);
  EXPECT_EQ(rested, 1);
  connections.queue_is_empty(7 * kSecond);
  EXPECT_EQ(rested, 11);
  connections.queue_is_empty(20 * kSecond);
  EXPECT_EQ(rested, 11);
}

}  // namespace
}  // namespace arenad::server
