// Which blocks are away, and who pays for them.
#include "allocator/heap/away_blocks.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <vector>

#include "allocator/heap/payments.h"
#include "tests/allocator/seed.h"

namespace arenad {
namespace {

constexpr SessionId kAlice{5}, kBob{6}, kCarol{7};

TEST(AwayBlocks, BlockIsAwayFromItsAllocationUntilItComesHome) {
  AwayBlocks away(100);
  EXPECT_FALSE(away.has({99}));
  away.add({99}, kAlice);
  EXPECT_TRUE(away.has({99}));
  EXPECT_FALSE(away.has({98}));
  EXPECT_EQ(away.remove({99}), kAlice);
  EXPECT_FALSE(away.has({99}));
}

TEST(AwayBlocks, EachBlockHasItsOwnPayer) {
  AwayBlocks away(100);
  away.add({3}, kAlice);
  away.add({70}, kBob);
  away.add({4}, kAlice);
  EXPECT_EQ(away.payer({3}), kAlice);
  EXPECT_EQ(away.payer({70}), kBob);
  away.set_payer({3}, kBob);
  EXPECT_EQ(away.remove({3}), kBob);
  EXPECT_EQ(away.remove({4}), kAlice);
}

TEST(AwayBlocks, MoveChangesThePayersOfOneSessionsBlocks) {
  AwayBlocks away(100);
  EXPECT_EQ(away.move(kAlice, kCarol), 0u);
  away.add({3}, kAlice);
  away.add({64}, kAlice);
  EXPECT_EQ(away.move(kBob, kCarol), 0u);
  EXPECT_EQ(away.move(kAlice, kCarol), 2u);
  away.add({65}, kBob);
  EXPECT_EQ(away.move(kCarol, kBob), 2u);
  EXPECT_EQ(away.payer({3}), kBob);
  EXPECT_EQ(away.payer({65}), kBob);
}

// Beside a map that says the same.
TEST(AwayBlocks, RandomChangesAreWhatAMapSays) {
  std::mt19937 random(test_seed());
  AwayBlocks away(200);
  std::map<std::uint32_t, SessionId> expected;
  const std::vector<SessionId> sessions{kAlice, kBob, kCarol, kNoSession};
  for (int i = 0; i < 5'000; ++i) {
    const BlockIndex block{static_cast<std::uint32_t>(random() % 200)};
    const SessionId session = sessions[random() % sessions.size()];
    if (random() % 400 == 0) {
      for (const auto& [b, payer] : std::map(expected)) {
        ASSERT_EQ(away.remove({b}), payer);
        expected.erase(b);
      }
    } else if (random() % 50 == 0) {
      const SessionId to = sessions[random() % sessions.size()];
      std::uint32_t moved = 0;
      for (auto& [b, payer] : expected) {
        if (payer != session) continue;
        payer = to;
        ++moved;
      }
      ASSERT_EQ(away.move(session, to), moved);
    } else if (!expected.contains(block.value)) {
      away.add(block, session);
      expected[block.value] = session;
    } else if (random() % 3 == 0) {
      away.set_payer(block, session);
      expected[block.value] = session;
    } else {
      ASSERT_EQ(away.remove(block), expected[block.value]);
      expected.erase(block.value);
    }
    std::map<std::uint32_t, SessionId> found;
    away.for_each([&](BlockIndex b) { found[b.value] = away.payer(b); });
    ASSERT_EQ(found, expected);
  }
}

TEST(Payments, SumsAreTakenOnce) {
  Payments payments;
  std::map<SessionId, std::int64_t> sums;
  const auto take = [&] {
    sums.clear();
    payments.take([&](SessionId payer, std::int64_t bytes) { sums[payer] += bytes; });
  };
  payments.add(kAlice, 64);
  payments.add(kBob, 32);
  payments.add(kAlice, -16);
  take();
  EXPECT_EQ(sums, (std::map<SessionId, std::int64_t>{{kAlice, 48}, {kBob, 32}}));
  take();
  EXPECT_TRUE(sums.empty());
  payments.add(kAlice, 64);
  payments.add(kAlice, -64);
  take();
  EXPECT_TRUE(sums.empty()) << "what has come home meanwhile is nobody's business";
}

}  // namespace
}  // namespace arenad
