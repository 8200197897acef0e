// When a connection floods its shard, and what it may leave to the shard.
#include "server/rpc/connections/flood.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "server/rpc/connections/connection_limits.h"

namespace arenad::server {
namespace {

constexpr std::uint64_t kMany = FloodSigns::kManyBytes;

TEST(FloodSigns, ManyBytesBeforeAShardThatMakesNoStepCount) {
  FloodSigns signs;
  signs.look(7, kMany);  // the first look only knows the step
  EXPECT_EQ(signs.looks(), 0);
  EXPECT_TRUE(signs.many_bytes());
  for (int i = 1; i <= FloodSigns::kLooks; ++i) {
    signs.look(7, kMany);
    EXPECT_EQ(signs.looks(), i);
  }
}

TEST(FloodSigns, ShardThatMakesStepsIsNotFlooded) {
  FloodSigns signs;
  for (std::uint64_t step = 1; step < 20; ++step) {
    signs.look(step, kMany * 100);
    EXPECT_EQ(signs.looks(), 0);
  }
}

TEST(FloodSigns, FewBytesAreNoFloodHoweverLongTheShardTakes) {
  FloodSigns signs;
  for (int i = 0; i < 20; ++i) {
    signs.look(7, kMany - 1);
    EXPECT_EQ(signs.looks(), 0);
    EXPECT_FALSE(signs.many_bytes());
  }
  signs.look(7, kMany);
  signs.look(7, 0);
  signs.look(7, kMany);
  EXPECT_EQ(signs.looks(), 1) << "in a row";
}

TEST(BarredUsers, UserIsBarredForAWhile) {
  BarredUsers users;
  const BarredUsers::Time now{};
  EXPECT_FALSE(users.barred(7, now));
  users.bar(7, now);
  EXPECT_TRUE(users.barred(7, now + BarredUsers::kBar / 2));
  EXPECT_FALSE(users.barred(8, now));
  EXPECT_FALSE(users.barred(7, now + BarredUsers::kBar));
}

class ConnectionLimitsTest : public testing::Test {
 protected:
  ~ConnectionLimitsTest() override { time_ns = 0; }
  int leaves(const char* peer) {
    return limits.answer_leaves([peer] { return std::string(peer); });
  }
  void charge_the_free_ones() {
    for (std::uint32_t i = 0; i < ConnectionLimits::kFreeUntaken; ++i)
      EXPECT_EQ(leaves("fd:17"), ConnectionLimits::kNotCharged);
  }
  static inline std::uint64_t time_ns = 0;
  std::vector<int> cut;
  ConnectionLimits limits{[this](int number, const char*) { cut.push_back(number); },
                          [] { return time_ns; }};
};

TEST_F(ConnectionLimitsTest, UnknownCallsWithoutEndCutTheConnectionOnce) {
  for (std::uint32_t i = 1; i < ConnectionLimits::kMostUnknownCalls; ++i)
    limits.unknown_call("fd:17");
  limits.unknown_call("fd:18");
  limits.unknown_call("ipv4:127.0.0.1:17");
  EXPECT_TRUE(cut.empty());
  for (int i = 0; i < 10; ++i) limits.unknown_call("fd:17");
  EXPECT_EQ(cut, std::vector<int>{17});
}

TEST_F(ConnectionLimitsTest, NumberOfAnEndedConnectionBeginsAnew) {
  for (std::uint32_t i = 1; i < ConnectionLimits::kMostUnknownCalls; ++i)
    limits.unknown_call("fd:17");
  limits.disconnected(17);
  limits.unknown_call("fd:17");
  EXPECT_TRUE(cut.empty());
}

TEST_F(ConnectionLimitsTest, MoreUntakenAnswersThanStreamsCutTheConnection) {
  charge_the_free_ones();
  for (std::uint32_t i = 1; i < ConnectionLimits::kMostUntaken; ++i) EXPECT_EQ(leaves("fd:17"), 17);
  EXPECT_EQ(leaves("fd:18"), 18);
  limits.answer_taken(17);
  EXPECT_EQ(leaves("fd:17"), 17);
  EXPECT_TRUE(cut.empty());
  leaves("fd:17");
  leaves("fd:17");
  EXPECT_EQ(cut, std::vector<int>{17});
}

TEST_F(ConnectionLimitsTest, ManyAnswersThatWaitForLongCutTheConnection) {
  charge_the_free_ones();
  for (std::uint32_t i = 0; i < ConnectionLimits::kManyUntaken; ++i) leaves("fd:17");
  time_ns += ConnectionLimits::kPatienceNs;
  limits.answer_taken(17);  // a client that is slow, and not silent
  leaves("fd:17");
  EXPECT_TRUE(cut.empty());
  time_ns += ConnectionLimits::kPatienceNs;
  leaves("fd:17");
  EXPECT_EQ(cut, std::vector<int>{17});
}

TEST_F(ConnectionLimitsTest, AnswersThatAreTakenCutNobody) {
  for (std::uint32_t i = 0; i < 10 * ConnectionLimits::kMostUntaken; ++i)
    limits.answer_taken(limits.answer_leaves([] { return std::string("fd:17"); }));
  EXPECT_TRUE(cut.empty());
}

}  // namespace
}  // namespace arenad::server
