#include <cstring>
#include <vector>

#include "tests/client/client_fixture.h"

namespace arenad::client {
namespace {

class ExchangeTest : public ClientTest {};

TEST_F(ExchangeTest, AnswersComeInOrderAndAFailedRequestDoesNotEndTheStream) {
  auto a = attach(AttachMode::kWriter);
  Exchange stream = must(Exchange::open(a.arena));
  const auto first = must(stream.allocate(256, 64));
  const auto second = must(stream.allocate(0, 1));  // refused
  const auto third = must(stream.allocate_sizes(std::vector<std::uint64_t>{8, 4096}));
  EXPECT_EQ(stream.unreceived(), 3u);

  ExchangeReply reply;
  ASSERT_TRUE(stream.receive(reply).ok());
  EXPECT_EQ(reply.id, first);
  EXPECT_EQ(reply.call, ExchangeCall::kAllocate);
  ASSERT_EQ(reply.blocks.size(), 64u);
  const auto refs = refs_of(reply.blocks);

  ASSERT_TRUE(stream.receive(reply).ok());
  EXPECT_EQ(reply.id, second);
  EXPECT_EQ(reply.call, ExchangeCall::kNone);
  EXPECT_EQ(reply.status.reason, Error::kInvalidSize);
  EXPECT_TRUE(reply.blocks.empty());

  ASSERT_TRUE(stream.receive(reply).ok());
  EXPECT_EQ(reply.id, third);
  ASSERT_EQ(reply.blocks.size(), 2u);
  EXPECT_GE(reply.blocks[1].usable_bytes, 4096u);

  must(stream.describe(std::span(refs).first(1)));
  must(stream.acquire(std::span(refs).first(2), 5));
  must(stream.free(refs));
  ASSERT_TRUE(stream.receive(reply).ok());
  ASSERT_EQ(reply.infos.size(), 1u);
  EXPECT_EQ(reply.infos[0].holder, a.session.id());
  ASSERT_TRUE(stream.receive(reply).ok());
  EXPECT_EQ(reply.call, ExchangeCall::kAcquire);
  EXPECT_EQ(reply.batch.done, 2u);
  ASSERT_TRUE(stream.receive(reply).ok());
  EXPECT_EQ(reply.call, ExchangeCall::kFree);
  EXPECT_EQ(reply.batch.done, 64u);
  EXPECT_TRUE(reply.batch.all());
  EXPECT_TRUE(stream.finish().ok());
}

TEST_F(ExchangeTest, BatchesOfManyBlocksComeAndGo) {
  auto a = attach(AttachMode::kWriter);
  Exchange stream = must(Exchange::open(a.arena, {.own_connection = true}));
  std::vector<AllocatedBlock> blocks;
  ASSERT_TRUE(stream.allocate_batched(256, 20'000, blocks).ok());
  ASSERT_EQ(blocks.size(), 20'000u);
  EXPECT_EQ(facts().held_blocks, 20'000u);
  std::vector<Ref> refs = refs_of(blocks);
  refs[10'001] = refs[10'000];
  const BatchAnswer answer = must(stream.free_batched(refs));
  EXPECT_EQ(answer.done, 19'999u);
  ASSERT_EQ(answer.errors.size(), 1u);
  EXPECT_EQ(answer.errors[0].index, 10'001u);
  EXPECT_EQ(answer.errors[0].status.code, Code::kFailedPrecondition);
}

TEST_F(ExchangeTest, FullArenaLeavesTheCallerWhatWasGot) {
  auto a = attach(AttachMode::kRemote);
  Exchange stream = must(Exchange::open(a.arena));
  std::vector<AllocatedBlock> blocks;
  const Status status =
      stream.allocate_batched(64 * 1024, 10'000, blocks);  // ten times what there is
  EXPECT_EQ(status.reason, Error::kArenaFull);
  EXPECT_EQ(facts().held_blocks, blocks.size());
  EXPECT_TRUE(must(stream.free_batched(refs_of(blocks))).all());
}

TEST_F(ExchangeTest, NoMoreThanMaxInFlightAreUnanswered) {
  auto a = attach(AttachMode::kRemote);
  Exchange stream = must(Exchange::open(a.arena, {.max_in_flight = 2}));
  for (int i = 0; i < 50; ++i) must(stream.allocate(64, 1));  // takes in replies on the way
  EXPECT_EQ(stream.unreceived(), 50u);
  std::vector<Ref> refs;
  ExchangeReply reply;
  while (stream.unreceived() > 0) {
    ASSERT_TRUE(stream.receive(reply).ok());
    refs.push_back(reply.blocks.at(0).ref);
  }
  EXPECT_EQ(refs.size(), 50u);
  EXPECT_EQ(stream.receive(reply).code, Code::kFailedPrecondition);
  EXPECT_TRUE(must(a.arena.free(refs)).all());
}

TEST_F(ExchangeTest, UnreadAllocationsGoBackWithTheSession) {
  auto a = attach(AttachMode::kRemote);
  {
    Exchange stream = must(Exchange::open(a.arena));
    for (int i = 0; i < 10; ++i) must(stream.allocate(64, 8));
  }  // cancelled in the middle
  must(a.session.close());
  EXPECT_EQ(facts().held_blocks, 0u);
}

TEST_F(ExchangeTest, StreamOfAClosedSessionSaysSo) {
  auto a = attach(AttachMode::kRemote);
  Exchange stream = must(Exchange::open(a.arena));
  must(a.session.close());
  EXPECT_EQ(stream.allocate(64, 1).error().reason, Error::kUnknownSession);
}

}  // namespace
}  // namespace arenad::client
