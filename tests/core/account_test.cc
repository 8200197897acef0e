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

TEST(Account, MoveChargesTheReceiverAndCreditsTheGiver) {
  Account account(1000);
  account.open(kAlice, 0);
  account.open(kBob, 0);
  ASSERT_EQ(Error::kNone, account.charge(kAlice, 600));
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
  EXPECT_EQ(Error::kQuotaSession, account.charge(kAlice, 1));
}

TEST(Account, SessionWithoutALimitIsNotCounted) {
  Account account(0);
  account.open(kAlice, 0);
  EXPECT_EQ(Error::kNone, account.charge(kAlice, std::uint64_t{1} << 50));
  account.credit(kAlice, 7);
  EXPECT_EQ(account.charged_bytes(kAlice), 0u);
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

TEST(Account, RecountReplacesWhatWasChargedBeforeItBeganAndKeepsWhatCameSince) {
  Account account(1000);
  account.open(kAlice, 0);
  ASSERT_EQ(Error::kNone, account.charge(kAlice, 900));
  const Account::Recount recount = account.begin_recount(kAlice);
  ASSERT_EQ(Error::kNone, account.charge(kAlice, 50));  // while the words are counted
  account.finish_recount(recount, 300);
  EXPECT_EQ(account.charged_bytes(kAlice), 350u);
}

TEST(Account, OverlappingRecountsPutTheSameErrorRightOnce) {
  Account account(1000);
  account.open(kAlice, 0);
  ASSERT_EQ(Error::kNone, account.charge(kAlice, 1000));
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
  ASSERT_EQ(Error::kNone, account.charge(kAlice, 1000));
  std::jthread refused([&account](const std::stop_token& stop) {
    while (!stop.stop_requested()) EXPECT_EQ(Error::kQuotaSession, account.charge(kAlice, 500));
  });
  for (int i = 0; i < 200'000; ++i) account.finish_recount(account.begin_recount(kAlice), 1000);
  EXPECT_EQ(account.charged_bytes(kAlice), 1000u);
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
  account.move(kAlice, 1000, kBob, 1000);  // a block changes hands
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
  EXPECT_FALSE(account.counts(kAlice));
  account.close(kBob);
  account.open(kBob, 0, kUid);
  EXPECT_EQ(account.user_bytes(kBob), 0u);
}

TEST(AccountOfAUser, RecountOfASessionSetsTheUsersSumRight) {
  Account account(0);
  account.set_user_limit(1000);
  account.open(kAlice, 0, kUid);
  account.open(kBob, 0, kUid);
  ASSERT_EQ(account.charge(kAlice, 600), Error::kNone);
  ASSERT_EQ(account.charge(kBob, 400), Error::kNone);
  const Account::Recount recount = account.begin_recount(kAlice);
  account.credit(kBob, 100);
  account.finish_recount(recount, 150);
  EXPECT_EQ(account.user_bytes(kAlice), 450u);
}

TEST(AccountOfAUser, SessionThatNobodyPaysForIsBesideAllUsers) {
  Account account(0);
  account.set_user_limit(1000);
  account.open(kAlice, 0);
  EXPECT_FALSE(account.counts(kAlice));
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

}  // namespace
}  // namespace arenad::server
