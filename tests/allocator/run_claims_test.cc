// RunClaims, and the unit map for callers that must not wait for a commit.
#include "allocator/arena/run_claims.h"

#include <gtest/gtest.h>

#include <functional>

#include "allocator/format/geometry.h"

namespace arenad {
namespace {

using Memory = UnitMap::Memory;

// A map of four superslabs that counts its commits.
class RunClaimsTest : public ::testing::Test {
 protected:
  RunShape span(std::uint32_t span_units) const { return geometry.span_shape(span_units); }
  Error take_committed(std::uint32_t count) {
    const auto run = units.take_run(count, {0}, UnitMap::Order::kLowest, Memory::kCommitted);
    return run.ok() ? Error::kNone : run.error();
  }

  std::function<void()> during_commit;
  bool full = false;
  std::uint32_t commits = 0;
  const Geometry geometry{Layout::plain()};
  UnitMap units{4 * kSuperslabBytes,
                [this](SuperslabIndex, std::uint32_t count) {
                  if (during_commit) during_commit();
                  if (full) return Error::kMachineFull;
                  commits += count;
                  return Error::kNone;
                },
                [](SuperslabIndex) {}};
  RunClaims claims{units};
};

TEST_F(RunClaimsTest, CallerThatMustNotWaitCommitsNothing) {
  EXPECT_EQ(take_committed(1), Error::kCommitNeeded);
  EXPECT_EQ(units.take_superslabs(2, Memory::kCommitted).error(), Error::kCommitNeeded);
  EXPECT_EQ(commits, 0u);
  ASSERT_TRUE(units.commit_ahead(2).ok());
  EXPECT_EQ(units.take_superslabs(2, Memory::kCommitted)->value, 0u);
  EXPECT_EQ(take_committed(1), Error::kCommitNeeded);
  ASSERT_TRUE(units.take_superslabs(2).ok());
  EXPECT_EQ(take_committed(1), Error::kArenaFull) << "nothing is left to commit";
  EXPECT_EQ(units.take_superslabs(1, Memory::kCommitted).error(), Error::kArenaFull);
}

// The last superslabs are out of reach while they are committed. The arena is not full yet.
TEST_F(RunClaimsTest, MemoryThatIsJustBeingCommittedIsWorthAskingFor) {
  int asked = 0;
  during_commit = [&] {
    ++asked;
    EXPECT_EQ(take_committed(1), Error::kCommitNeeded);
  };
  ASSERT_TRUE(units.take_superslabs(4).ok());
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(take_committed(1), Error::kArenaFull);
}

TEST_F(RunClaimsTest, ClaimIsTakenByTheNextGrantOfItsSizeAndCountsFromThenOn) {
  const RunWish wish{span(64), 1};
  const auto got = claims.claim({&wish, 1});
  EXPECT_EQ(got.error, Error::kNone);
  EXPECT_EQ(got.runs, 1u);
  EXPECT_EQ(commits, 2u);
  EXPECT_EQ(units.taken_units(), 0u);
  EXPECT_FALSE(claims.take(span(32)).has_value());
  EXPECT_EQ(claims.take(span(64))->value, 0u);
  EXPECT_EQ(units.taken_units(), 64u);
  EXPECT_FALSE(claims.take(span(64)).has_value());
  claims.drop(got.ticket);
  EXPECT_EQ(units.taken_units(), 64u) << "what was taken is not dropped";
  units.release_superslabs({0}, 2);
  EXPECT_EQ(units.taken_units(), 0u);
}

TEST_F(RunClaimsTest, ClaimsOfATicketThatNobodyTookAreFreeAgain) {
  const RunWish first[] = {{span(64), 1}, {span(3), 2}};
  const RunWish second{span(5), 1};
  const auto got = claims.claim(first);
  const auto other = claims.claim({&second, 1});
  EXPECT_EQ(got.runs, 3u);
  ASSERT_TRUE(claims.take(span(3)).has_value());
  claims.drop(got.ticket);
  EXPECT_EQ(units.taken_units(), 3u);
  EXPECT_EQ(units.wholly_free(), 2u);
  EXPECT_FALSE(claims.take(span(3)).has_value());
  EXPECT_TRUE(claims.take(span(5)).has_value()) << "another ticket's";
  claims.drop(other.ticket);
}

TEST_F(RunClaimsTest, ClaimsThatDoNotAllFitSayHowManyThereAre) {
  const RunWish wish{span(32), 6};
  const auto got = claims.claim({&wish, 1});
  EXPECT_EQ(got.runs, 4u);
  EXPECT_EQ(got.error, Error::kArenaFull);
  claims.drop(got.ticket);
  EXPECT_EQ(units.wholly_free(), 4u);
}

TEST_F(RunClaimsTest, RefusedCommitClaimsNothing) {
  full = true;
  const RunWish wish{span(64), 1};
  const auto got = claims.claim({&wish, 1});
  EXPECT_EQ(got.runs, 0u);
  EXPECT_EQ(got.error, Error::kMachineFull);
  full = false;
  EXPECT_TRUE(units.take_superslabs(4).ok());
}

}  // namespace
}  // namespace arenad
