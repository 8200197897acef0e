// Which Host headers are answered.
#include "server/rpc/http_hosts.h"

#include <gtest/gtest.h>

namespace arenad::server {
namespace {

TEST(HttpHosts, LoopbackIsAllowedInEachFormAndWithAnyPort) {
  const HttpHosts hosts({});
  for (const char* host : {"localhost", "LOCALHOST:7480", "127.0.0.1", "127.0.0.1:1", "[::1]",
                           "[::1]:7480", "[0:0::1]:80"})
    EXPECT_TRUE(hosts.allows(host, "")) << host;
}

TEST(HttpHosts, OtherNamesAreNot) {
  const HttpHosts hosts({});
  for (const char* host :
       {"", "evil.example", "evil.example:7480", "localhost.evil.example", "127.0.0.1.evil.example",
        "localhost:x", "localhost:80:80", "[::1", "[::1]evil", "[", "::1", ":80", "10.0.0.1"})
    EXPECT_FALSE(hosts.allows(host, "10.0.0.2")) << host;
}

TEST(HttpHosts, AddressToWhichTheClientHasConnectedIsAllowed) {
  const HttpHosts hosts({});
  EXPECT_TRUE(hosts.allows("10.0.0.2:7480", "10.0.0.2"));
  EXPECT_TRUE(hosts.allows("[FE80:0::2]:7480", "fe80::2"));
}

TEST(HttpHosts, NamesOfTheConfigurationAreAllowed) {
  const HttpHosts hosts({"Node7.example", "0:0::9"});
  EXPECT_TRUE(hosts.allows("node7.EXAMPLE:7480", ""));
  EXPECT_TRUE(hosts.allows("[::9]", ""));
  EXPECT_FALSE(hosts.allows("node8.example", ""));
}

}  // namespace
}  // namespace arenad::server
