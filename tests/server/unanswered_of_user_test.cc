// Streams of one user count together, and a user that has gone leaves nothing.
#include "server/rpc/services/unanswered_of_user.h"

#include <gtest/gtest.h>

namespace arenad::server {
namespace {

TEST(UnansweredOfUser, StreamsOfOneUserShareACountAndOthersDoNot) {
  UnansweredOfUser users;
  const auto a = users.share(7), b = users.share(7), other = users.share(8);
  *a += 5;
  *b += 6;
  EXPECT_EQ(*a, 11u);
  EXPECT_EQ(*other, 0u);
}

TEST(UnansweredOfUser, StreamsOfUnknownUsersAreOneUserAndNotRoot) {
  UnansweredOfUser users;
  const auto a = users.share(std::nullopt), b = users.share(std::nullopt), root = users.share(0);
  *a += 5;
  EXPECT_EQ(*b, 5u);
  EXPECT_EQ(*root, 0u);
}

TEST(UnansweredOfUser, CountIsThatOfTheStreamsThatLive) {
  UnansweredOfUser users;
  auto a = users.share(7);
  *a += 5;
  const auto still = users.share(7);
  a.reset();
  EXPECT_EQ(*users.share(7), 5u);
  auto last = users.share(9);
  *last += 1;
  last.reset();
  EXPECT_EQ(*users.share(9), 0u);
}

}  // namespace
}  // namespace arenad::server
