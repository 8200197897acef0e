// The account of a session's leases, while resumes come between the steps of a return.
#include "client/lib/lease_account.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <optional>
#include <thread>
#include <vector>

#include "arenad/status.h"
#include "client/lib/daemon_gate.h"
#include "tests/support/workers.h"

namespace arenad::client {
namespace {

constexpr SlabIndex kRun{3};
constexpr std::uint32_t kUnits = 8;

bool names(const LeaseAccount::Part& part, SlabIndex run) {
  return std::find(part.runs.begin(), part.runs.end(), run) != part.runs.end();
}

TEST(LeaseAccount, AnswerOfAnOldEpochDoesNotCount) {
  DaemonGate gate;
  LeaseAccount account(gate, kUnits);
  const auto epoch = account.enter(DaemonGate::Clock::now());
  ASSERT_TRUE(epoch.ok());
  account.begin_resume();
  EXPECT_FALSE(account.answered(*epoch, [&] { account.add_run(kRun); }));
  EXPECT_FALSE(names(account.part(0, kUnits), kRun));
}

TEST(LeaseAccount, NoCallIsMadeBetweenAResumeAndItsAnswer) {
  DaemonGate gate;
  LeaseAccount account(gate, kUnits);
  ASSERT_TRUE(account.answered(0, [&] { account.add_run(kRun); }));
  account.begin_resume();
  EXPECT_EQ(account.enter(DaemonGate::Clock::now()).error().code, Code::kUnavailable);
  EXPECT_EQ(account.drop({&kRun, 1}), std::nullopt);
  account.end_resume();
  EXPECT_EQ(*account.enter(DaemonGate::Clock::now()), 1u);
}

TEST(LeaseAccount, NoCallIsMadeWhileADetachIsDecided) {
  using Detached = LeaseAccount::Detached;
  DaemonGate gate;
  LeaseAccount account(gate, kUnits, 7);
  const auto waits = [&] {
    return account.enter(DaemonGate::Clock::now()).error().code == Code::kUnavailable;
  };
  EXPECT_EQ(account.begin_detach(), 7u) << "of the epoch that the attachment began with";
  EXPECT_TRUE(waits());
  account.end_detach(Detached::kNo);
  EXPECT_EQ(*account.enter(DaemonGate::Clock::now()), 7u);
  // Without an answer a resume comes first.
  (void)account.begin_detach();
  account.end_detach(Detached::kUnknown);
  EXPECT_TRUE(waits());
  EXPECT_TRUE(account.wants_resume());
  account.begin_resume();
  account.end_resume();
  EXPECT_EQ(*account.enter(DaemonGate::Clock::now()), 8u);
  // After a success the session gives the arena up, and that is what calls hear.
  (void)account.begin_detach();
  account.end_detach(Detached::kYes);
  EXPECT_TRUE(waits());
  account.give_up({Code::kFailedPrecondition, Error::kNotAttached, "detached"});
  EXPECT_EQ(account.enter(DaemonGate::Clock::now()).error().reason, Error::kNotAttached);
  EXPECT_EQ(account.detaches(), 3u);
}

TEST(LeaseAccount, DropAllLeavesNothingToName) {
  DaemonGate gate;
  LeaseAccount account(gate, kUnits);
  ASSERT_TRUE(account.answered(0, [&] {
    account.add_run(kRun);
    account.add_heap({300});
  }));
  account.drop_all();
  const LeaseAccount::Part part = account.part(0, kUnits);
  EXPECT_TRUE(part.runs.empty());
  EXPECT_TRUE(part.heaps.empty());
}

// Each round a run is returned while a resume begins, reads the account and ends. When the resume
// did not name the run, the daemon takes the run back and may lease it again. So no ReturnSlabs of
// the resume's epoch may name the run. When the resume named the run, the daemon refuses a
// ReturnSlabs of an earlier epoch. So there is no such call either.
TEST(LeaseAccount, ReturnIsOfTheEpochInWhichTheRunWasDropped) {
  constexpr int kRounds = 100'000;
  constexpr std::uint64_t kNoCall = UINT64_MAX;
  DaemonGate gate;
  LeaseAccount account(gate, kUnits);
  std::atomic<int> round{0}, dropped{0};  // that may begin; whose return has ended
  std::atomic<std::uint64_t> drop_epoch{0};
  test::Workers workers;
  workers.start([&] {
    for (int r = 1; r <= kRounds && workers.go_on(); ++r) {
      while (workers.go_on() && round != r) std::this_thread::yield();
      drop_epoch = account.drop({&kRun, 1}).value_or(kNoCall);
      dropped = r;
    }
  });
  for (int r = 1; r <= kRounds; ++r) {
    const auto epoch = account.enter(DaemonGate::Clock::now());
    ASSERT_TRUE(epoch.ok());
    ASSERT_TRUE(account.answered(*epoch, [&] { account.add_run(kRun); }));
    round = r;
    account.begin_resume();
    const LeaseAccount::Part part = account.part(0, kUnits);
    account.end_resume();
    while (workers.go_on() && dropped != r) std::this_thread::yield();
    if (drop_epoch == part.epoch) {
      ASSERT_TRUE(names(part, kRun)) << "round " << r;
    }
    if (drop_epoch == *epoch) {
      ASSERT_FALSE(names(part, kRun)) << "round " << r;
    }
  }
  workers.join();
}

}  // namespace
}  // namespace arenad::client
