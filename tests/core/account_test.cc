// What sessions are charged for, against their limits.
#include "server/core/shard/account.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <thread>
#include <vector>

namespace arenad::server {
namespace {

constexpr SessionId kAlice{5}, kBob{6};

TEST(Account, LimitOfASessionIsNeverMoreThanTheDaemonsLimit) {
  Account account(1000);
  account.open(kAlice, 0);
  EXPECT_EQ(account.limit_bytes(kAlice), 1000u);
  account.open(kAlice, 400);
  EXPECT_EQ(account.limit_bytes(kAlice), 400u);
  account.open(kAlice, 5000);
  EXPECT_EQ(account.limit_bytes(kAlice), 1000u);
}

TEST(Account, SessionHasItsOwnLimitWhenTheDaemonHasNone) {
  Account account(0);
  account.open(kAlice, 400);
  EXPECT_EQ(account.limit_bytes(kAlice), 400u);
  account.open(kAlice, 0);
  EXPECT_EQ(account.limit_bytes(kAlice), 0u);
}

TEST(Account, HugeLimitsAreNoLimitInPractice) {
  Account account(~std::uint64_t{0});
  account.open(kAlice, ~std::uint64_t{0});
  EXPECT_TRUE(account.charge(kAlice, std::uint64_t{1} << 62));
}

TEST(Account, ChargeUpToTheLimitSucceedsAndOneByteMoreChargesNothing) {
  Account account(1000);
  account.open(kAlice, 0);
  EXPECT_TRUE(account.charge(kAlice, 1000));
  EXPECT_FALSE(account.charge(kAlice, 1));
  EXPECT_EQ(account.charged_bytes(kAlice), 1000u);
  EXPECT_TRUE(account.charge(kAlice, 0));
}

TEST(Account, CreditMakesRoom) {
  Account account(1000);
  account.open(kAlice, 0);
  ASSERT_TRUE(account.charge(kAlice, 1000));
  account.credit(kAlice, 300);
  EXPECT_EQ(account.charged_bytes(kAlice), 700u);
  EXPECT_FALSE(account.charge(kAlice, 301));
  EXPECT_TRUE(account.charge(kAlice, 300));
}

TEST(Account, MoveChargesTheReceiverAndCreditsTheGiver) {
  Account account(1000);
  account.open(kAlice, 0);
  account.open(kBob, 0);
  ASSERT_TRUE(account.charge(kAlice, 600));
  account.move(kAlice, 600, kAlice, 200);  // a lease of 600 becomes blocks of 200
  EXPECT_EQ(account.charged_bytes(kAlice), 200u);
  account.move(kAlice, 200, kBob, 200);
  EXPECT_EQ(account.charged_bytes(kAlice), 0u);
  EXPECT_EQ(account.charged_bytes(kBob), 200u);
}

TEST(Account, MoveMayGoOverTheLimitBecauseTheBytesAreHeldAlready) {
  Account account(100);
  account.open(kAlice, 0);
  account.move(kAlice, 0, kAlice, 500);
  EXPECT_EQ(account.charged_bytes(kAlice), 500u);
  EXPECT_FALSE(account.charge(kAlice, 1));
}

TEST(Account, SessionWithoutALimitIsNotCounted) {
  Account account(0);
  account.open(kAlice, 0);
  EXPECT_TRUE(account.charge(kAlice, std::uint64_t{1} << 50));
  account.credit(kAlice, 7);
  EXPECT_EQ(account.charged_bytes(kAlice), 0u);
}

TEST(Account, MoreCreditThanChargeIsShownAsNothing) {
  Account account(1000);
  account.open(kAlice, 0);
  account.credit(kAlice, 50);
  EXPECT_EQ(account.charged_bytes(kAlice), 0u);
  EXPECT_TRUE(account.charge(kAlice, 1050));  // the balance is kept exactly
}

TEST(Account, SessionThatGetsAnIdAgainBeginsWithNothing) {
  Account account(1000);
  account.open(kAlice, 0);
  ASSERT_TRUE(account.charge(kAlice, 1000));
  account.open(kAlice, 0);
  EXPECT_EQ(account.charged_bytes(kAlice), 0u);
}

TEST(Account, RecountReplacesWhatWasChargedBeforeItBeganAndKeepsWhatCameSince) {
  Account account(1000);
  account.open(kAlice, 0);
  ASSERT_TRUE(account.charge(kAlice, 900));
  const Account::Recount recount = account.begin_recount(kAlice);
  ASSERT_TRUE(account.charge(kAlice, 50));  // while the words are counted
  account.finish_recount(recount, 300);
  EXPECT_EQ(account.charged_bytes(kAlice), 350u);
}

TEST(Account, OverlappingRecountsPutTheSameErrorRightOnce) {
  Account account(1000);
  account.open(kAlice, 0);
  ASSERT_TRUE(account.charge(kAlice, 1000));
  const Account::Recount first = account.begin_recount(kAlice);
  const Account::Recount second = account.begin_recount(kAlice);
  account.finish_recount(first, 800);
  EXPECT_EQ(account.charged_bytes(kAlice), 800u);
  const Account::Recount third = account.begin_recount(kAlice);
  account.finish_recount(second, 800);
  EXPECT_EQ(account.charged_bytes(kAlice), 800u);
  account.finish_recount(third, 700);
  EXPECT_EQ(account.charged_bytes(kAlice), 700u);
}

TEST(Account, RefusedChargeIsSeenByNoRecount) {
  Account account(1000);
  account.open(kAlice, 0);
  ASSERT_TRUE(account.charge(kAlice, 1000));
  std::jthread refused([&account](const std::stop_token& stop) {
    while (!stop.stop_requested()) EXPECT_FALSE(account.charge(kAlice, 500));
  });
  for (int i = 0; i < 200'000; ++i) account.finish_recount(account.begin_recount(kAlice), 1000);
  EXPECT_EQ(account.charged_bytes(kAlice), 1000u);
}

TEST(Account, OfAllThreadsTogetherNoMoreThanTheLimitIsCharged) {
  Account account(1000);
  account.open(kAlice, 0);
  std::vector<std::uint64_t> got(4);
  {
    std::vector<std::jthread> threads;
    for (std::uint64_t& mine : got)
      threads.emplace_back([&account, &mine] {
        for (int i = 0; i < 10'000; ++i) {
          if (account.charge(kAlice, 1)) ++mine;
          if (i % 3 == 0 && mine > 0) {
            account.credit(kAlice, 1);
            --mine;
          }
        }
      });
  }
  std::uint64_t sum = 0;
  for (const std::uint64_t mine : got) sum += mine;
  EXPECT_LE(sum, 1000u);
  EXPECT_EQ(account.charged_bytes(kAlice), sum);
}

}  // namespace
}  // namespace arenad::server
