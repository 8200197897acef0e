// What sessions are charged for, against their limits.
#include "server/core/shard/account.h"

#include <gtest/gtest.h>

#include <atomic>
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
  EXPECT_EQ(Error::kNone, account.charge(kAlice, std::uint64_t{1} << 62));
}

TEST(Account, ChargeUpToTheLimitSucceedsAndOneByteMoreChargesNothing) {
  Account account(1000);
  account.open(kAlice, 0);
  EXPECT_EQ(Error::kNone, account.charge(kAlice, 1000));
  EXPECT_EQ(Error::kQuotaSession, account.charge(kAlice, 1));
  EXPECT_EQ(account.charged_bytes(kAlice), 1000u);
  EXPECT_EQ(Error::kNone, account.charge(kAlice, 0));
}

TEST(Account, CreditMakesRoom) {
  Account account(1000);
  account.open(kAlice, 0);
  ASSERT_EQ(Error::kNone, account.charge(kAlice, 1000));
  account.credit(kAlice, 300);
  EXPECT_EQ(account.charged_bytes(kAlice), 700u);
  EXPECT_EQ(Error::kQuotaSession, account.charge(kAlice, 301));
  EXPECT_EQ(Error::kNone, account.charge(kAlice, 300));
}

TEST(Account, WhatIsOutAlreadyMayGoOverTheLimit) {
  Account account(100);
  account.open(kAlice, 0);
  account.add(kAlice, 500);
  EXPECT_EQ(account.charged_bytes(kAlice), 500u);
  EXPECT_EQ(Error::kQuotaSession, account.charge(kAlice, 1));
}

TEST(Account, SessionWithoutALimitIsCountedForTheDayThatItGetsOne) {
  Account account(0);
  account.open(kAlice, 0);
  EXPECT_EQ(Error::kNone, account.charge(kAlice, 1000));
  account.set_limit(kAlice, 500);
  EXPECT_EQ(account.charged_bytes(kAlice), 1000u);
  EXPECT_EQ(Error::kQuotaSession, account.charge(kAlice, 1));
  account.set_limit(kAlice, 0);
  EXPECT_EQ(Error::kNone, account.charge(kAlice, std::uint64_t{1} << 50));
}

TEST(Account, MoreCreditThanChargeIsShownAsNothing) {
  Account account(1000);
  account.open(kAlice, 0);
  account.credit(kAlice, 50);
  EXPECT_EQ(account.charged_bytes(kAlice), 0u);
  EXPECT_EQ(Error::kNone, account.charge(kAlice, 1050));  // the balance is kept exactly
}

TEST(Account, SessionThatGetsAnIdAgainBeginsWithNothing) {
  Account account(1000);
  account.open(kAlice, 0);
  ASSERT_EQ(Error::kNone, account.charge(kAlice, 1000));
  account.open(kAlice, 0);
  EXPECT_EQ(account.charged_bytes(kAlice), 0u);
}

// Four threads charge and credit these sessions in turn. Answers what is left charged.
std::uint64_t charged_by_threads(Account& account, const std::vector<SessionId>& sessions) {
  std::vector<std::uint64_t> got(4);
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < got.size(); ++t)
      threads.emplace_back([&account, &mine = got[t], who = sessions[t % sessions.size()]] {
        for (int i = 0; i < 10'000; ++i) {
          if (account.charge(who, 1) == Error::kNone) ++mine;
          if (i % 3 == 0 && mine > 0) {
            account.credit(who, 1);
            --mine;
          }
        }
      });
  }
  std::uint64_t sum = 0;
  for (const std::uint64_t mine : got) sum += mine;
  return sum;
}

TEST(Account, OfAllThreadsTogetherNoMoreThanTheLimitIsCharged) {
  Account account(1000);
  account.open(kAlice, 0);
  const std::uint64_t sum = charged_by_threads(account, {kAlice});
  EXPECT_LE(sum, 1000u);
  EXPECT_EQ(account.charged_bytes(kAlice), sum);
}

constexpr std::uint32_t kUid = 1000;

TEST(AccountOfAUser, AllSessionsOfAUserTogetherHaveOneLimit) {
  Account account(0);
  account.set_user_limit(1000);
  account.open(kAlice, 0, kUid);
  account.open(kBob, 300, kUid);
  EXPECT_EQ(account.charge(kAlice, 800), Error::kNone);
  EXPECT_EQ(account.charge(kBob, 201), Error::kQuotaUser);
  EXPECT_EQ(account.charge(kBob, 200), Error::kNone);
  EXPECT_EQ(account.user_bytes(kBob), 1000u);
  account.credit(kAlice, 500);
  EXPECT_EQ(account.charge(kBob, 101), Error::kQuotaSession);
  EXPECT_EQ(account.user_bytes(kAlice), 500u) << "what the session refused is not the user's";
  EXPECT_EQ(account.charge(kBob, 100), Error::kNone);
}

TEST(AccountOfAUser, UsersDoNotPayForEachOther) {
  Account account(0);
  account.set_user_limit(1000);
  account.open(kAlice, 0, kUid);
  account.open(kBob, 0, kUid + 1);
  EXPECT_EQ(account.charge(kAlice, 1000), Error::kNone);
  EXPECT_EQ(account.charge(kBob, 1000), Error::kNone);
  account.credit(kAlice, 1000);  // a block changes hands
  account.add(kBob, 1000);
  EXPECT_EQ(account.user_bytes(kAlice), 0u);
  EXPECT_EQ(account.user_bytes(kBob), 2000u);
}

TEST(AccountOfAUser, EndOfASessionGivesBackWhatItWasChargedFor) {
  Account account(0);
  account.set_user_limit(1000);
  account.open(kAlice, 0, kUid);
  account.open(kBob, 0, kUid);
  ASSERT_EQ(account.charge(kAlice, 600), Error::kNone);
  ASSERT_EQ(account.charge(kBob, 400), Error::kNone);
  account.close(kAlice);
  EXPECT_EQ(account.user_bytes(kBob), 400u);
  account.close(kBob);
  account.open(kBob, 0, kUid);
  EXPECT_EQ(account.user_bytes(kBob), 0u);
}

TEST(AccountOfAUser, HeirPaysForWhatEndedSessionsHaveLeft) {
  constexpr SessionId kHeir{7};
  Account account(0);
  account.set_user_limit(1000);
  account.open(kAlice, 0, kUid);
  account.open(kBob, 0, kUid + 1);
  EXPECT_EQ(account.heir_of(kAlice), kNoSession);
  ASSERT_TRUE(account.needs_heir(kAlice));
  account.set_heir(kAlice, kHeir);
  EXPECT_FALSE(account.needs_heir(kAlice));
  EXPECT_TRUE(account.needs_heir(kBob)) << "each user has an heir of its own";
  ASSERT_EQ(account.charge(kAlice, 800), Error::kNone);
  account.credit(kAlice, 300);  // passed on
  account.add(account.heir_of(kAlice), 300);
  account.close(kAlice);
  EXPECT_TRUE(account.forget_idle_users().empty()) << "the heir pays still";

  account.open(kAlice, 0, kUid);
  EXPECT_EQ(account.heir_of(kAlice), kHeir);
  EXPECT_EQ(account.user_bytes(kAlice), 300u);
  EXPECT_EQ(account.charge(kAlice, 701), Error::kQuotaUser);
  account.close(kAlice);
  account.credit(kHeir, 300);
  EXPECT_EQ(account.forget_idle_users(), std::vector{kHeir});
  account.open(kAlice, 0, kUid);
  EXPECT_EQ(account.heir_of(kAlice), kNoSession);
}

TEST(AccountOfAUser, SessionThatNobodyPaysForIsBesideAllUsers) {
  Account account(0);
  account.set_user_limit(1000);
  account.open(kAlice, 0);
  EXPECT_FALSE(account.needs_heir(kAlice));
  EXPECT_EQ(account.charge(kAlice, 5000), Error::kNone);
  EXPECT_EQ(account.user_bytes(kAlice), 0u);
}

TEST(AccountOfAUser, OfAllThreadsAndSessionsNoMoreThanTheLimitIsCharged) {
  Account account(700);
  account.set_user_limit(1000);
  account.open(kAlice, 0, kUid);
  account.open(kBob, 0, kUid);
  const std::uint64_t sum = charged_by_threads(account, {kAlice, kBob});
  EXPECT_LE(sum, 1000u);
  EXPECT_EQ(account.user_bytes(kAlice), sum);
  EXPECT_EQ(account.charged_bytes(kAlice) + account.charged_bytes(kBob), sum);
}

TEST(AccountOfAReserve, IsUsedByWhatTheSessionIsChargedFor) {
  Account account(0);
  account.open(kAlice, 0);
  EXPECT_EQ(account.unused_reserve(kAlice), 0u);
  account.set_reserve(kAlice, 1000);
  EXPECT_EQ(account.unused_reserve(kAlice), 1000u);
  ASSERT_EQ(account.charge(kAlice, 300), Error::kNone);
  EXPECT_EQ(account.unused_reserve(kAlice), 1000u) << "nobody knows yet whether there is memory";
  account.settled(kAlice, 300);
  EXPECT_EQ(account.unused_reserve(kAlice), 700u);
  ASSERT_EQ(account.charge(kAlice, 900), Error::kNone);
  account.credit(kAlice, 900);
  account.settled(kAlice, 900);
  EXPECT_EQ(account.unused_reserve(kAlice), 700u);
  account.add(kAlice, 5000);
  EXPECT_EQ(account.unused_reserve(kAlice), 0u);
  account.credit(kAlice, 5300);
  EXPECT_EQ(account.unused_reserve(kAlice), 1000u);
  account.open(kAlice, 0);
  EXPECT_EQ(account.unused_reserve(kAlice), 0u) << "the next session has none";
}

TEST(AccountOfAReserve, RefusedChargeUsesNothing) {
  Account account(0);
  account.open(kAlice, 500);
  account.set_reserve(kAlice, 400);
  EXPECT_EQ(account.charge(kAlice, 501), Error::kQuotaSession);
  ASSERT_EQ(account.charge(kAlice, 100), Error::kNone);
  account.settled(kAlice, 100);
  EXPECT_EQ(account.unused_reserve(kAlice), 300u);
}

// Charges for which there is no memory in the end come and go. They never seem to use the reserve.
TEST(AccountOfAReserve, ChargesThatAreWithdrawnUseNothingAtAnyMoment) {
  Account account(0);
  account.open(kAlice, 0);
  account.set_reserve(kAlice, 1000);
  std::atomic<bool> stop{false};
  std::vector<std::jthread> shards;
  for (int i = 0; i < 2; ++i)
    shards.emplace_back([&] {
      while (!stop) {
        ASSERT_EQ(account.charge(kAlice, 600), Error::kNone);
        account.credit(kAlice, 600);
        account.settled(kAlice, 600);
      }
    });
  int wrong = 0;
  for (int i = 0; i < 200'000; ++i) wrong += account.unused_reserve(kAlice) != 1000;
  stop = true;
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace arenad::server
