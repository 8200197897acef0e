#include "client/lib/target.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace arenad::client {
namespace {

TEST(Target, SocketDirectoryMeansTheCommonSocketInIt) {
  EXPECT_EQ(parse_target("/run/arenad").grpc_target, "unix:/run/arenad/arenad.sock");
  EXPECT_EQ(parse_target("/run/arenad/").grpc_target, "unix:/run/arenad/arenad.sock");
  EXPECT_EQ(parse_target("/run/arenad").directory, "/run/arenad");
}

TEST(Target, SocketFileMeansItself) {
  EXPECT_EQ(parse_target("/run/x/shard-1.sock").grpc_target, "unix:/run/x/shard-1.sock");
  EXPECT_EQ(parse_target("/run/x/shard-1.sock").directory, "/run/x");
  EXPECT_EQ(parse_target("unix:/run/x/arenad.sock").directory, "/run/x");
  EXPECT_EQ(parse_target("unix:///run/x/arenad.sock").grpc_target, "unix:/run/x/arenad.sock");
}

TEST(Target, HostAndPortHaveNoDirectory) {
  EXPECT_EQ(parse_target("127.0.0.1:7470").grpc_target, "127.0.0.1:7470");
  EXPECT_EQ(parse_target("dns:///localhost:7470").grpc_target, "dns:///localhost:7470");
  EXPECT_TRUE(parse_target("127.0.0.1:7470").directory.empty());
}

TEST(Target, EmptyMeansTheEnvironmentThenTheDefault) {
  ::setenv("ARENAD_SOCKET", "/srv/a", 1);
  EXPECT_EQ(parse_target("").directory, "/srv/a");
  ::unsetenv("ARENAD_SOCKET");
  EXPECT_EQ(parse_target("").directory, "/run/arenad");
}

TEST(Target, DaemonsSocketsAreFoundBesideTheOneThatWasGiven) {
  const Target here = parse_target("/mnt/sockets");
  const char* common = "unix:/run/arenad/arenad.sock";
  EXPECT_EQ(rebase(here, common, "unix:/run/arenad/shard-1.sock"),
            "unix:/mnt/sockets/shard-1.sock");
  EXPECT_EQ(rebase(here, common, "/run/arenad/handoff.sock"), "/mnt/sockets/handoff.sock");
  EXPECT_EQ(rebase(here, common, "unix:/elsewhere/shard-1.sock"), "unix:/elsewhere/shard-1.sock");
  EXPECT_EQ(rebase(parse_target("127.0.0.1:1"), common, "/run/arenad/handoff.sock"),
            "/run/arenad/handoff.sock");
}

}  // namespace
}  // namespace arenad::client
