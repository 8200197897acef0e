// Answer: a value or a Status. Using the value of a failure ends the program with the text.
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "arenad/status.h"

namespace arenad::client {
namespace {

Answer<std::string> failed() {
  return Status{Code::kUnavailable, Error::kNone, "no daemon answers at unix:/nowhere"};
}

TEST(Answer, ValueOfASuccessIsReachedInThreeWays) {
  Answer<std::string> answer{std::string("value")};
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer.value(), "value");
  EXPECT_EQ(*answer, "value");
  EXPECT_EQ(answer->size(), 5u);
  EXPECT_TRUE(answer.error().ok());
}

TEST(Answer, FailureKeepsItsStatusThroughCopiesAndMoves) {
  const Answer<std::string> first = failed();
  Answer<std::string> copy = first;
  const Answer<std::string> moved = std::move(copy);
  EXPECT_FALSE(moved.ok());
  EXPECT_EQ(moved.error().message, first.error().message);
}

TEST(Answer, FailureCanBeAssignedOverASuccess) {
  Answer<std::string> answer{std::string("value")};
  answer = failed();
  EXPECT_EQ(answer.error().code, Code::kUnavailable);
  answer = std::string("value again");
  EXPECT_EQ(*answer, "value again");
}

TEST(Answer, HoldsATypeThatOnlyMoves) {
  Answer<std::unique_ptr<int>> answer{std::make_unique<int>(4)};
  EXPECT_EQ(**answer, 4);
  const std::unique_ptr<int> taken = std::move(*answer);
  EXPECT_EQ(*taken, 4);
}

// The text that a program leaves on stderr: what was wrong in the program, then the failure itself.
constexpr const char* kLastWords =
    "value of a failed Answer.*UNAVAILABLE: no daemon answers at unix:/nowhere";

TEST(AnswerDeathTest, ValueOfAFailureEndsTheProgramWithItsText) {
  Answer<std::string> answer = failed();
  const Answer<std::string>& constant = answer;
  EXPECT_DEATH((void)answer.value(), kLastWords);
  EXPECT_DEATH((void)*answer, kLastWords);
  EXPECT_DEATH((void)answer->size(), kLastWords);
  EXPECT_DEATH((void)constant.value(), kLastWords);
  EXPECT_DEATH((void)*constant, kLastWords);
  EXPECT_DEATH((void)constant->size(), kLastWords);
}

}  // namespace
}  // namespace arenad::client
