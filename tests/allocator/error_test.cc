// allocator/base/error.h: a Result, and what happens to a program that uses the value of a failure.
#include "allocator/base/error.h"

#include <gtest/gtest.h>

#include "allocator/heap/allocation.h"

namespace arenad {
namespace {

TEST(ResultDeathTest, ValueOfAFailureEndsTheProgramWithTheErrorsText) {
  Result<int> failed = Error::kArenaFull;
  const Result<int>& seen = failed;
  EXPECT_DEATH((void)failed.value(), "failed Result: ARENA_FULL: free blocks");
  EXPECT_DEATH((void)*failed, "ARENA_FULL");
  EXPECT_DEATH((void)seen.value(), "ARENA_FULL");
  EXPECT_DEATH((void)*seen, "ARENA_FULL");
}

TEST(ResultDeathTest, MemberOfAFailedValueEndsTheProgramWithTheFailuresMessage) {
  Result<std::string, Failure> failed = Failure{Error::kInvalidName, "the name 'a b' has a blank"};
  EXPECT_DEATH((void)failed->size(), "failed Result: INVALID_NAME: the name 'a b' has a blank");
}

TEST(ResultDeathTest, BlockOfAFailedAllocationEndsTheProgramWithTheErrorsText) {
  const Result<Allocation> failed = Error::kMachineFull;
  EXPECT_DEATH((void)failed.value(), "failed Result: MACHINE_FULL: no more memory can be");
  EXPECT_DEATH((void)*failed, "MACHINE_FULL");
  EXPECT_DEATH((void)failed->ref, "MACHINE_FULL");
}

TEST(Error, LeaseNeededHasNoNumberNameOrCodeOnTheWire) {
  EXPECT_GT(static_cast<int>(Error::kLeaseNeeded), static_cast<int>(kLastError));
  EXPECT_STREQ(error_name(Error::kLeaseNeeded), error_name(Error::kInternal));
  EXPECT_EQ(error_code(Error::kLeaseNeeded), error_code(Error::kInternal));
}

TEST(Result, ValueOfASuccessIsTheValue) {
  Result<int> got = 7;
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(*got, 7);
  *got = 8;
  EXPECT_EQ(got.value(), 8);
}

}  // namespace
}  // namespace arenad
