// Streams of one user count together, and a user that has gone leaves nothing.
#include "server/rpc/services/unanswered_of_user.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

namespace arenad::server {
namespace {

TEST(UnansweredOfUser, StreamsOfOneUserShareACountAndOthersDoNot) {
  UnansweredOfUser users(100);
  const auto a = users.share(7), b = users.share(7), other = users.share(8);
  *a += 5;
  *b += 6;
  EXPECT_EQ(*a, 11u);
  EXPECT_EQ(*other, 0u);
}

TEST(UnansweredOfUser, StreamsOfUnknownUsersAreOneUserAndNotRoot) {
  UnansweredOfUser users(100);
  const auto a = users.share(std::nullopt), b = users.share(std::nullopt), root = users.share(0);
  *a += 5;
  EXPECT_EQ(*b, 5u);
  EXPECT_EQ(*root, 0u);
}

TEST(UnansweredOfUser, CountIsThatOfTheStreamsThatLive) {
  UnansweredOfUser users(100);
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

TEST(UnansweredOfUser, AnswerThatTheUserTakesCountsNoMore) {
  UnansweredOfUser users(100);
  const auto user = users.share(7);
  UnansweredAnswer a, b;
  EXPECT_EQ(a.count(users, 7, 60).error, Error::kNone);
  const Failure full = b.count(users, 7, 41);
  EXPECT_EQ(full.error, Error::kQuotaUser);
  for (const char* part : {"uid 7", "60 B", "41 B", "100 B", "max_user_unanswered_bytes"})
    EXPECT_NE(full.message.find(part), std::string::npos) << full.message;
  EXPECT_EQ(b.count(users, 8, 41).error, Error::kNone) << "another user";
  b.taken();
  EXPECT_EQ(b.count(users, 7, 40).error, Error::kNone);
  EXPECT_EQ(*user, 100u);
  a.taken();
  a.taken();
  EXPECT_EQ(*user, 40u);
}

TEST(UnansweredOfUser, WhoHasLeftNothingGetsAnAnswerOfAnySize) {
  UnansweredOfUser users(100);
  UnansweredAnswer large, more;
  EXPECT_EQ(large.count(users, std::nullopt, 1000).error, Error::kNone);
  const Failure full = more.count(users, std::nullopt, 1);
  EXPECT_EQ(full.error, Error::kQuotaUser);
  EXPECT_NE(full.message.find("over TCP"), std::string::npos) << full.message;
}

}  // namespace
}  // namespace arenad::server
