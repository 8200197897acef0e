// Values of configuration keys, as people write them.
#include "server/rpc/config/values.h"

#include <gtest/gtest.h>

namespace arenad::server {
namespace {

TEST(Values, NumberIsDigitsAndNothingElse) {
  EXPECT_EQ(parse_number("0"), 0u);
  EXPECT_EQ(parse_number("18446744073709551615"), ~std::uint64_t{0});
  for (const char* wrong : {"", " 1", "1 ", "-1", "+1", "1.5", "0x10", "18446744073709551616"})
    EXPECT_FALSE(parse_number(wrong)) << wrong;
}

TEST(Values, SizeHasUnitsOf1024) {
  EXPECT_EQ(parse_size("1000"), 1000u);
  EXPECT_EQ(parse_size("512K"), 512u << 10);
  EXPECT_EQ(parse_size("2GiB"), std::uint64_t{2} << 30);
  EXPECT_EQ(parse_size("4TiB"), std::uint64_t{4} << 40);
  for (const char* wrong : {"", "GiB", "1GB", "1 GiB", "-1K", "99999999TiB"})
    EXPECT_FALSE(parse_size(wrong)) << wrong;
}

TEST(Values, SizeTextReadsBack) {
  for (const std::uint64_t bytes : {std::uint64_t{0}, std::uint64_t{1000}, std::uint64_t{1} << 20,
                                    std::uint64_t{4} << 40, (std::uint64_t{1} << 30) + 1})
    EXPECT_EQ(parse_size(size_text(bytes)), bytes);
  EXPECT_EQ(size_text(std::uint64_t{4} << 40), "4TiB");
}

TEST(Values, HostPortTakesNamesAndBothKindsOfAddress) {
  const auto v4 = parse_host_port("127.0.0.1:7470");
  ASSERT_TRUE(v4);
  EXPECT_EQ(v4->host, "127.0.0.1");
  EXPECT_EQ(v4->port, 7470);
  const auto v6 = parse_host_port("[::1]:0");
  ASSERT_TRUE(v6);
  EXPECT_EQ(v6->host, "::1");
  EXPECT_EQ(v6->port, 0);
  for (const char* wrong : {"", ":1", "host", "host:", "host:65536", "::1:80", "host:http"})
    EXPECT_FALSE(parse_host_port(wrong)) << wrong;
}

TEST(Values, LoopbackIsWhatNoOtherHostReaches) {
  for (const char* inside : {"localhost", "::1", "127.0.0.1", "127.9.9.9"})
    EXPECT_TRUE(is_loopback(inside)) << inside;
  for (const char* outside : {"0.0.0.0", "::", "10.0.0.1", "example.com"})
    EXPECT_FALSE(is_loopback(outside)) << outside;
}

TEST(Values, Utf8IsToldFromOtherBytes) {
  for (const char* good : {"", "a", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xef\xbf\xbf",
                           "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "x\xc3\xa4y"})
    EXPECT_TRUE(is_utf8(good)) << good;
  for (const char* bad :
       {"\x80", "\xc3", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xff", "\xc3\x41", "a\xe2\x82"})
    EXPECT_FALSE(is_utf8(bad)) << bad;
}

}  // namespace
}  // namespace arenad::server
