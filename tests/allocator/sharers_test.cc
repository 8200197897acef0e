// Sharers: a session has a bit of its own until it is released, and the bits run out.
#include "allocator/arena/sharers.h"

#include <gtest/gtest.h>

#include <bit>

namespace arenad {
namespace {

class SharersTest : public ::testing::Test {
 protected:
  SharerTable table{};
  Sharers sharers{table};
};

TEST_F(SharersTest, SessionKeepsTheBitThatItClaimed) {
  EXPECT_EQ(sharers.bits_of({5}), 0u);
  const std::uint64_t bit = sharers.claim({5});
  EXPECT_EQ(std::popcount(bit), 1);
  EXPECT_EQ(sharers.claim({5}), bit);
  EXPECT_EQ(sharers.bits_of({5}), bit);
  EXPECT_EQ(sharers.claim({6}) & bit, 0u);
}

TEST_F(SharersTest, FortyFirstSessionFindsNoBitUntilOneIsReleased) {
  for (std::uint16_t session = 1; session <= kMaxSharers; ++session)
    EXPECT_NE(sharers.claim({session}), 0u);
  EXPECT_EQ(sharers.claim({100}), 0u);
  const std::uint64_t bit = sharers.bits_of({20});
  sharers.release({20});
  EXPECT_EQ(sharers.bits_of({20}), 0u);
  EXPECT_EQ(sharers.claim({100}), bit);
}

TEST_F(SharersTest, ReleaseGivesBackBothBitsOfASessionThatClaimedTwiceAtOnce) {
  table.sessions[3] = 5;
  table.sessions[38] = 5;
  table.sessions[39] = 6;
  EXPECT_EQ(sharers.bits_of({5}), std::uint64_t{1} << 3 | std::uint64_t{1} << 38);
  sharers.release({5});
  EXPECT_EQ(sharers.bits_of({5}), 0u);
  EXPECT_EQ(sharers.bits_of({6}), std::uint64_t{1} << 39);
}

}  // namespace
}  // namespace arenad
