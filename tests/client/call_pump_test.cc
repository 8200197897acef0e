#include <set>
#include <vector>

#include "tests/client/client_fixture.h"

namespace arenad::client {
namespace {

class CallPumpTest : public ClientTest {};

TEST_F(CallPumpTest, ThirtyTwoInFlightEachCompleteOnceUnderTheirTag) {
  auto a = attach(AttachMode::kWriter);
  CallPump pump = must(CallPump::open(a.arena));
  for (std::uint64_t tag = 0; tag < 32; ++tag) pump.allocate(tag, 256);
  EXPECT_EQ(pump.in_flight(), 32u);
  std::set<std::uint64_t> tags;
  std::vector<Ref> refs;
  while (pump.in_flight() > 0) {
    const CallPump::Completion* done = pump.next(30'000);
    ASSERT_NE(done, nullptr);
    ASSERT_TRUE(done->status.ok()) << done->status.text();
    EXPECT_EQ(done->call, CallPump::Call::kAllocate);
    EXPECT_TRUE(tags.insert(done->tag).second);
    refs.push_back(done->blocks.at(0).ref);
  }
  EXPECT_EQ(tags.size(), 32u);
  EXPECT_EQ(pump.next(30'000), nullptr);  // at once: nothing is in flight
  pump.free(99, refs);
  const CallPump::Completion* freed = pump.next(30'000);
  ASSERT_NE(freed, nullptr);
  EXPECT_EQ(freed->tag, 99u);
  EXPECT_EQ(freed->batch.done, 32u);
}

TEST_F(CallPumpTest, SlotsAreReusedWithoutCarryingAnswersOver) {
  auto a = attach(AttachMode::kRemote);
  CallPump pump = must(CallPump::open(a.arena, {.own_connection = false}));
  for (int round = 0; round < 200; ++round) {
    pump.allocate(1, 64, 3);
    const CallPump::Completion* done = pump.next(30'000);
    ASSERT_NE(done, nullptr);
    ASSERT_EQ(done->blocks.size(), 3u);
    const std::vector<Ref> refs{done->blocks[0].ref, done->blocks[1].ref, done->blocks[2].ref};
    pump.free(2, refs);
    done = pump.next(30'000);
    ASSERT_NE(done, nullptr);
    ASSERT_EQ(done->batch.done, 3u);
    ASSERT_TRUE(done->blocks.empty());
  }
}

TEST_F(CallPumpTest, RefusalIsACompletion) {
  auto a = attach(AttachMode::kRemote);
  CallPump pump = must(CallPump::open(a.arena));
  pump.allocate(7, 0);
  const CallPump::Completion* done = pump.next(30'000);
  ASSERT_NE(done, nullptr);
  EXPECT_EQ(done->tag, 7u);
  EXPECT_EQ(done->status.reason, Error::kInvalidSize);
}

TEST_F(CallPumpTest, DestructionWithCallsInFlightIsClean) {
  auto a = attach(AttachMode::kRemote);
  {
    CallPump pump = must(CallPump::open(a.arena));
    for (std::uint64_t tag = 0; tag < 16; ++tag) pump.allocate(tag, 64);
  }
  must(a.session.close());
  EXPECT_EQ(facts().held_blocks, 0u);
}

}  // namespace
}  // namespace arenad::client
