// Reserves: what the budget sets aside for sessions. reserved_sessions_test.cc has whole engines.
#include "server/core/host/reserves.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>

#include "allocator/base/unique_fd.h"
#include "server/core/host/host_budget.h"
#include "tests/core/machine_files.h"
#include "tests/support/sizes.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/text.h"

namespace arenad::server {
namespace {

using Use = MemoryBudget::Use;

constexpr SessionId kAlice{5}, kBob{6};

constexpr int kFile = -7;  // of an arena without a file system

// A budget whose limit is 64 MiB, and sessions that use of their reserves what `used` says.
class Reserved : public ::testing::Test {
 protected:
  Reserved() { budget.take_limit(64 * kMiB, -1); }
  Error begin(SessionId session, std::uint64_t bytes) {
    reserves[session] = bytes;
    return budget.begin_reserve(session, bytes).error;
  }
  Failure request(std::uint64_t bytes) { return budget.request(Use::kPayload, bytes, kFile); }
  // A call of the session that costs `bytes` and has as much committed for it.
  Failure request(SessionId session, std::uint64_t bytes) {
    const auto draw = budget.draw(session, bytes);
    const HostBudget::Asking asking(session, draw.get());
    Failure full = request(bytes);
    if (draw != nullptr) draw->commits_over();
    if (full.error == Error::kNone) used[session] += bytes;
    return full;
  }

  std::map<SessionId, std::uint64_t> reserves, used;
  const MachineFiles machine{1024 * kMiB};
  HostBudget budget{machine.root(), [this](SessionId session) {
                      const std::uint64_t all = reserves[session];
                      return all - std::min(all, used[session]);
                    }};
};

TEST_F(Reserved, OthersGetWhatIsLeftBesideAReserve) {
  ASSERT_EQ(begin(kAlice, 24 * kMiB), Error::kNone);
  EXPECT_EQ(budget.reserved_bytes(), 24 * kMiB);
  const Failure full = request(40 * kMiB + 1);
  EXPECT_EQ(full.error, Error::kMachineFull);
  EXPECT_TRUE(
      has(full.message, "is 64 MiB, of which 64 MiB are left and 24 MiB are reserved for sessions"))
      << full.message;
  EXPECT_EQ(request(kBob, 40 * kMiB).error, Error::kNone);
  EXPECT_EQ(request(kBob, 1).error, Error::kMachineFull);
}

TEST_F(Reserved, SessionGetsItsReserveAndThenWhatOthersGet) {
  ASSERT_EQ(begin(kAlice, 24 * kMiB), Error::kNone);
  ASSERT_EQ(request(30 * kMiB).error, Error::kNone);
  EXPECT_EQ(request(kAlice, 24 * kMiB).error, Error::kNone);
  EXPECT_EQ(budget.set_aside_bytes(), 0u);
  EXPECT_EQ(request(kAlice, 10 * kMiB).error, Error::kNone);
  EXPECT_EQ(request(kAlice, 1).error, Error::kMachineFull);
  EXPECT_EQ(budget.total_bytes(), 64 * kMiB);
}

TEST_F(Reserved, CallBeyondAReserveCountsWhatItHasLeft) {
  ASSERT_EQ(begin(kAlice, 24 * kMiB), Error::kNone);
  ASSERT_EQ(begin(kBob, 10 * kMiB), Error::kNone);
  EXPECT_EQ(request(kAlice, 54 * kMiB + 1).error, Error::kMachineFull);
  EXPECT_EQ(request(kAlice, 54 * kMiB).error, Error::kNone);
}

TEST_F(Reserved, ReserveThatDoesNotFitIsRefusedAndTakesNothing) {
  ASSERT_EQ(request(20 * kMiB).error, Error::kNone);
  ASSERT_EQ(begin(kAlice, 24 * kMiB), Error::kNone);
  reserves[kBob] = 21 * kMiB;
  const Failure full = budget.begin_reserve(kBob, 21 * kMiB);
  EXPECT_EQ(full.error, Error::kMachineFull);
  EXPECT_TRUE(has(full.message,
                  "is 64 MiB, of which 44 MiB are left and 24 MiB are reserved for sessions; 21 "
                  "MiB were needed"))
      << full.message;
  EXPECT_EQ(budget.reserved_bytes(), 24 * kMiB);
  EXPECT_EQ(begin(kBob, 20 * kMiB), Error::kNone);
  budget.end_reserve(kAlice);
  EXPECT_EQ(request(24 * kMiB).error, Error::kNone) << "a reserve ends with its session";
}

TEST_F(Reserved, WhatTheMachineLeavesIsSetAsideToo) {
  machine.set(160 * kMiB);  // of which 10 MiB stay free
  budget.take_limit(1024 * kMiB, -1);
  EXPECT_EQ(begin(kAlice, 151 * kMiB), Error::kMachineFull);
  EXPECT_EQ(budget.reserved_bytes(), 0u);
  ASSERT_EQ(begin(kAlice, 100 * kMiB), Error::kNone);
  const Failure full = request(51 * kMiB);
  EXPECT_TRUE(has(full.message, "10 MiB must stay free and 100 MiB are reserved for sessions"))
      << full.message;
  EXPECT_EQ(budget.request(Use::kControl, 51 * kMiB, -1).error, Error::kMachineFull);
  EXPECT_EQ(request(50 * kMiB).error, Error::kNone);
  EXPECT_EQ(request(kAlice, 100 * kMiB).error, Error::kNone);
  EXPECT_EQ(request(kAlice, 1).error, Error::kMachineFull) << "the host itself has no more";
}

// What was read up to 10 ms before is no credit for memory that was set aside since.
TEST_F(Reserved, WhatWasReadBeforeAReserveIsBelievedNoMore) {
  machine.set(160 * kMiB);
  budget.take_limit(1024 * kMiB, -1);
  ASSERT_EQ(request(kMiB).error, Error::kNone);  // 37 MiB may rest on that
  ASSERT_EQ(begin(kAlice, 149 * kMiB), Error::kNone);
  EXPECT_EQ(request(kMiB).error, Error::kMachineFull);
}

TEST_F(Reserved, FileSystemLeavesWhatIsSetAside) {
  const test::TemporaryDirectory directory;
  const UniqueFd fd(::open(directory.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const std::uint64_t free = file_system_bound(fd.get()).free_bytes;
  ASSERT_NE(free, 0u);
  machine.set(4 * free);
  budget.take_limit(8 * free, fd.get());
  EXPECT_EQ(begin(kAlice, 2 * free), Error::kMachineFull);
  ASSERT_EQ(begin(kAlice, free / 2), Error::kNone);
  const Failure full = budget.request(Use::kPayload, free / 4 * 3, fd.get());
  EXPECT_EQ(full.error, Error::kMachineFull);
  EXPECT_TRUE(has(full.message, "the file system of ") &&
              has(full.message, "are reserved for sessions"))
      << full.message;
}

// Others may have what the session has freed. Then it gets its reserve all the same, twice.
TEST_F(Reserved, SumIsAboveTheLimitByAtMostTwiceTheReserve) {
  ASSERT_EQ(begin(kAlice, 24 * kMiB), Error::kNone);
  ASSERT_EQ(request(40 * kMiB).error, Error::kNone);
  ASSERT_EQ(request(kAlice, 24 * kMiB).error, Error::kNone);
  for (int i = 0; i < 48; ++i) {
    used[kAlice] = 0;
    ASSERT_EQ(request(kAlice, kMiB).error, Error::kNone) << i;
    EXPECT_EQ(request(1).error, Error::kMachineFull);
  }
  EXPECT_EQ(budget.total_bytes(), 112 * kMiB);
  used[kAlice] = 0;
  EXPECT_EQ(request(kAlice, kMiB).error, Error::kMachineFull);
  budget.give_back(2 * kMiB, kFile + 1);
  EXPECT_EQ(request(kAlice, kMiB).error, Error::kMachineFull) << "that was another arena's";
  budget.give_back(2 * kMiB, kFile);
  EXPECT_EQ(request(kAlice, 2 * kMiB).error, Error::kNone);
}

// One session takes all arenas above the limit, and others have that memory for ever. Another one's
// reserve is there as if nothing was, however often its arena gives the memory back.
TEST_F(Reserved, WhatOthersTakeAboveTheLimitCostsNobodysReserve) {
  ASSERT_EQ(begin(kAlice, 24 * kMiB), Error::kNone);
  ASSERT_EQ(begin(kBob, 24 * kMiB), Error::kNone);
  ASSERT_EQ(request(16 * kMiB).error, Error::kNone);
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(request(kAlice, 24 * kMiB).error, Error::kNone);
    used[kAlice] = 0;
  }
  for (int i = 0; i < 10; ++i) {
    ASSERT_EQ(budget.request(Use::kPayload, 1, kFile).error, Error::kMachineFull);
    const auto draw = budget.draw(kBob, 24 * kMiB);
    {
      const HostBudget::Asking asking(kBob, draw.get());
      ASSERT_EQ(budget.request(Use::kPayload, 24 * kMiB, kFile + 1).error, Error::kNone) << i;
    }
    budget.give_back(24 * kMiB, kFile + 1);
  }
}

// Where there is room for all, nothing counts.
TEST_F(Reserved, WhatFitsBelowTheLimitIsNoExcess) {
  ASSERT_EQ(begin(kAlice, 2 * kMiB), Error::kNone);
  for (int i = 0; i < 30; ++i) {
    ASSERT_EQ(request(kAlice, 2 * kMiB).error, Error::kNone);
    used[kAlice] = 0;
  }
  ASSERT_EQ(request(2 * kMiB).error, Error::kNone);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(request(kAlice, 2 * kMiB).error, Error::kNone) << "the last of the limit, and twice";
    used[kAlice] = 0;
  }
  EXPECT_EQ(request(kAlice, 2 * kMiB).error, Error::kMachineFull);
}

TEST_F(Reserved, CallsAtOnceDrawNoMoreThanTheReserve) {
  ASSERT_EQ(begin(kAlice, 24 * kMiB), Error::kNone);
  const auto first = budget.draw(kAlice, 20 * kMiB);
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(budget.draw(kAlice, 5 * kMiB), nullptr);
  EXPECT_NE(budget.draw(kAlice, 4 * kMiB), nullptr);
  const auto parts = budget.draw(kAlice, kMiB, 100);
  ASSERT_NE(parts, nullptr);
  EXPECT_EQ(parts->times(), 4u) << "what is over is drawn no more";
  EXPECT_EQ(budget.draw(kBob, 1), nullptr) << "without a reserve";
}

// Else what is being committed would be counted twice, and others refused meanwhile.
TEST_F(Reserved, WhatIsBeingCommittedIsNotSetAsideASecondTime) {
  ASSERT_EQ(begin(kAlice, 24 * kMiB), Error::kNone);
  const auto draw = budget.draw(kAlice, 24 * kMiB);
  {
    const HostBudget::Asking asking(kAlice, draw.get());
    ASSERT_EQ(request(24 * kMiB).error, Error::kNone);
  }
  EXPECT_EQ(budget.set_aside_bytes(), 0u);
  EXPECT_EQ(request(40 * kMiB).error, Error::kNone);
  draw->commits_over();
  EXPECT_EQ(budget.set_aside_bytes(), 24 * kMiB) << "until the session is charged";
}

TEST_F(Reserved, DrawOfAnEndedSessionIsNotItsSuccessors) {
  ASSERT_EQ(begin(kAlice, 24 * kMiB), Error::kNone);
  auto draw = budget.draw(kAlice, 20 * kMiB);
  budget.end_reserve(kAlice);
  ASSERT_EQ(begin(kAlice, 10 * kMiB), Error::kNone);
  draw.reset();
  EXPECT_EQ(budget.draw(kAlice, kMiB, 100)->times(), 10u);
}

TEST_F(Reserved, ReservesOfAFormerDaemonAreNotRefusedButSaid) {
  EXPECT_EQ(budget.reserved_beyond_limit(), "");
  reserves[kAlice] = 100 * kMiB;
  budget.begin_reserve_again(kAlice, 100 * kMiB);
  EXPECT_EQ(budget.reserved_bytes(), 100 * kMiB);
  EXPECT_NE(budget.reserved_beyond_limit().find("100 MiB are set aside"), std::string::npos);
  EXPECT_EQ(request(1).error, Error::kMachineFull);
}

}  // namespace
}  // namespace arenad::server
