// Exchange over real gRPC: order, waits, many at once, and streams that break.
#include <gtest/gtest.h>

#include <grpcpp/generic/generic_stub.h>

#include <algorithm>

#include "tests/server/remote_session.h"
#include "tests/support/workers.h"

namespace arenad::server {
namespace {

constexpr std::uint32_t kLongWaitMs = 600'000;
constexpr std::uint64_t kAlmostAll = 250 * kMiB;  // of the arena's 256 MiB
using Stream = grpc::ClientReaderWriter<v1::ExchangeRequest, v1::ExchangeResponse>;

// Whoever writes to the stream, or waits for it, ends with the test, also when the test fails.
struct CancelAtEnd {
  ~CancelAtEnd() { context.TryCancel(); }
  grpc::ClientContext& context;
};

class Exchange : public testing::Test {
 protected:
  Exchange() { context_.set_deadline(call_deadline()); }
  std::unique_ptr<Stream> open() { return session_.stubs.blocks.Exchange(&context_); }

  v1::ExchangeRequest allocate(std::uint64_t id, std::uint64_t size, std::uint32_t count = 1,
                               std::uint32_t wait_ms = 0) const {
    v1::ExchangeRequest request;
    request.set_id(id);
    *request.mutable_allocate() = session_.allocate_request(size, count, wait_ms);
    return request;
  }
  template <class Refs>
  v1::ExchangeRequest free(std::uint64_t id, const Refs& refs) const {
    v1::ExchangeRequest request;
    request.set_id(id);
    *request.mutable_free() = session_.free_request(refs);
    return request;
  }
  std::uint64_t held_blocks() {
    grpc::ClientContext context;
    v1::GetArenaRequest request;
    request.set_name("pool");
    v1::Arena arena;
    RemoteSession::must(session_.stubs.arenas.GetArena(&context, request, &arena), "GetArena");
    return arena.held_blocks();
  }

  // Of a client whose gRPC takes only 64 KiB before somebody reads. It would take megabytes, how
  // many depends on the machine's load.
  std::unique_ptr<v1::Blocks::Stub> stub_that_takes_little() const {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return v1::Blocks::NewStub(grpc::CreateCustomChannel(
        daemon_.target("arenad.sock"), grpc::InsecureChannelCredentials(), arguments));
  }

  DaemonProcess daemon_{{"--shards", "2", "--arena", "pool:256MiB"}};
  RemoteSession session_{channel_to(daemon_), "pool"};
  grpc::ClientContext context_;
};

TEST_F(Exchange, AnswersComeInTheOrderOfTheRequestsThoughAnEarlierOneWaits) {
  v1::AllocateResponse big;
  ASSERT_TRUE(session_.allocate(session_.allocate_request(kAlmostAll), &big).ok());
  const auto stream = open();
  ASSERT_TRUE(stream->Write(allocate(1, 256)));
  ASSERT_TRUE(stream->Write(allocate(2, kAlmostAll, 1, kLongWaitMs)));  // waits
  ASSERT_TRUE(stream->Write(allocate(3, 256, 7)));
  v1::ExchangeRequest describe;
  describe.set_id(4);
  *describe.mutable_describe()->mutable_session() = session_.key;
  describe.mutable_describe()->set_arena_id(session_.arena_id);
  describe.mutable_describe()->add_refs(big.refs(0));
  ASSERT_TRUE(stream->Write(describe));
  v1::ExchangeResponse answer;
  ASSERT_TRUE(stream->Read(&answer));
  EXPECT_EQ(answer.id(), 1u);

  // The ones behind the waiting one are done, though their answers are held back; and the shard
  // serves others.
  EXPECT_TRUE(eventually([&] { return held_blocks() == 1 + 1 + 7; }));
  v1::FreeResponse freed;
  ASSERT_TRUE(session_.free(session_.free_request(big.refs()), &freed).ok());
  ASSERT_EQ(freed.freed(), 1u);

  for (std::uint64_t id = 2; id <= 4; ++id) {
    ASSERT_TRUE(stream->Read(&answer));
    EXPECT_EQ(answer.id(), id);
    EXPECT_FALSE(answer.has_error()) << answer.error().message();
    if (id == 3) {
      EXPECT_EQ(answer.allocate().refs_size(), 7);
    }
    if (id == 4) {
      EXPECT_EQ(answer.describe().blocks(0).state(), v1::BLOCK_STATE_HELD)
          << "it was looked at before the free";
    }
  }
  stream->WritesDone();
  EXPECT_FALSE(stream->Read(&answer));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(Exchange, WaitThatExpiresIsAnsweredInItsPlace) {
  v1::AllocateResponse big;
  ASSERT_TRUE(session_.allocate(session_.allocate_request(kAlmostAll), &big).ok());
  const auto stream = open();
  ASSERT_TRUE(stream->Write(allocate(1, kAlmostAll, 1, 30)));
  ASSERT_TRUE(stream->Write(allocate(2, 64)));
  stream->WritesDone();
  v1::ExchangeResponse answer;
  ASSERT_TRUE(stream->Read(&answer));
  EXPECT_EQ(answer.id(), 1u);
  EXPECT_EQ(answer.error().reason(), v1::REASON_WAIT_EXPIRED);
  EXPECT_EQ(answer.error().code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  ASSERT_TRUE(stream->Read(&answer));
  EXPECT_EQ(answer.id(), 2u);
  EXPECT_EQ(answer.allocate().refs_size(), 1);
  EXPECT_FALSE(stream->Read(&answer));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(Exchange, ManyRequestsInFlightAreAllAnsweredOnceAndInOrder) {
  constexpr std::uint64_t kRequests = 20000;  // many times what one stream may have unanswered
  const auto stream = open();
  test::Workers writer;
  const CancelAtEnd cancel{context_};
  writer.start([&] {
    for (std::uint64_t id = 1; id <= kRequests; ++id)
      if (!stream->Write(allocate(id, 64))) return;
    stream->WritesDone();
  });
  std::vector<std::uint64_t> refs;
  v1::ExchangeResponse answer;
  std::uint64_t next = 0;
  while (stream->Read(&answer)) {
    ASSERT_EQ(answer.id(), ++next);
    ASSERT_EQ(answer.allocate().refs_size(), 1) << answer.ShortDebugString();
    refs.push_back(answer.allocate().refs(0));
  }
  writer.join();
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(next, kRequests);
  std::sort(refs.begin(), refs.end());
  EXPECT_EQ(std::unique(refs.begin(), refs.end()), refs.end());
  v1::FreeResponse freed;
  ASSERT_TRUE(
      session_.free(session_.free_request(std::vector(refs.begin(), refs.begin() + 16384)), &freed)
          .ok());
  EXPECT_EQ(freed.freed(), 16384u);
}

TEST_F(Exchange, FirstAnswersOfManyRequestsSentTogetherArrive) {
  // All of them are ready when the first answer is written: the first write must not wait for a
  // later one.
  for (int round = 0; round < 20; ++round) {
    grpc::ClientContext context;
    context.set_deadline(call_deadline());
    const auto stream = session_.stubs.blocks.Exchange(&context);
    for (std::uint64_t id = 1; id <= 8; ++id)
      ASSERT_TRUE(stream->Write(allocate(id, 64), grpc::WriteOptions().set_buffer_hint()));
    ASSERT_TRUE(stream->Write(allocate(9, 64)));
    v1::ExchangeResponse answer;
    for (std::uint64_t id = 1; id <= 9; ++id) {
      ASSERT_TRUE(stream->Read(&answer));
      ASSERT_EQ(answer.id(), id);
    }
    stream->WritesDone();
    EXPECT_TRUE(stream->Finish().ok());
  }
}

TEST_F(Exchange, LargeAndSmallAnswersInOneRunAllArrive) {
  // Answers from 30 bytes to 250 KiB: below, around and above what gRPC buffers for one stream.
  const auto stream = open();
  std::vector<std::uint32_t> counts;
  for (int i = 0; i < 3; ++i)
    for (const std::uint32_t count : {1, 8000, 1, 3900, 1, 4100, 16000, 1, 1})
      counts.push_back(count);
  test::Workers writer;
  const CancelAtEnd cancel{context_};
  writer.start([&] {
    for (std::size_t i = 0; i < counts.size(); ++i) stream->Write(allocate(i + 1, 8, counts[i]));
    stream->WritesDone();
  });
  v1::ExchangeResponse answer;
  std::size_t next = 0;
  for (; stream->Read(&answer); ++next) {
    EXPECT_EQ(answer.id(), next + 1);
    EXPECT_EQ(answer.allocate().refs_size(), static_cast<int>(counts[next]));
  }
  writer.join();
  EXPECT_EQ(next, counts.size());
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(Exchange, ClientThatDoesNotReadIsServedNoFurtherThanSomeMebibytes) {
  constexpr std::uint32_t kRequests = 150, kBlocks = 16'000;  // answers of 250 KiB
  constexpr std::uint32_t kMost = 20;  // 4 MiB are 16, and gRPC and the socket take some
  const auto blocks = stub_that_takes_little();
  const auto stream = blocks->Exchange(&context_);
  test::Workers writer;
  const CancelAtEnd cancel{context_};
  writer.start([&] {
    for (std::uint64_t id = 1; id <= kRequests; ++id)
      if (!stream->Write(allocate(id, 8, kBlocks))) return;
    stream->WritesDone();
  });
  EXPECT_TRUE(eventually([&] { return held_blocks() >= 5 * kBlocks; }));
  for (int look = 0; look < 300; ++look) ASSERT_LE(held_blocks(), kMost * kBlocks);
  v1::ExchangeResponse answer;
  std::uint64_t next = 0;
  while (stream->Read(&answer)) {
    ASSERT_EQ(answer.id(), ++next);
    ASSERT_EQ(answer.allocate().refs_size(), static_cast<int>(kBlocks));
  }
  writer.join();
  EXPECT_EQ(next, kRequests);
  EXPECT_TRUE(stream->Finish().ok());
}

// A user's limit is less than the sum of its streams' limits. No stream stands still for it.
TEST_F(Exchange, StreamsOfOneUserThatDoNotReadShareALimit) {
  constexpr int kStreams = 80;
  constexpr std::uint64_t kRequests = 10;
  constexpr std::uint32_t kBlocks = 16'000;
  // 64 MiB are 128 such answers. Each stream may have one more, and gRPC and the socket take some.
  // Without the limit it were 640 and more.
  constexpr std::uint64_t kMost = 400;
  const auto blocks = stub_that_takes_little();
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<Stream>> streams;
  for (int i = 0; i < kStreams; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    contexts.back()->set_deadline(call_deadline());
    streams.push_back(blocks->Exchange(contexts.back().get()));
  }
  for (std::uint64_t id = 1; id <= kRequests; ++id)
    for (const auto& stream : streams) ASSERT_TRUE(stream->Write(allocate(id, 8, kBlocks)));
  for (const auto& stream : streams) stream->WritesDone();
  EXPECT_TRUE(eventually([&] { return held_blocks() >= 128 * kBlocks; }));
  for (int look = 0; look < 300; ++look) ASSERT_LE(held_blocks(), kMost * kBlocks);
  v1::ExchangeResponse answer;
  // The last stream first, while the others still wait.
  for (auto stream = streams.rbegin(); stream != streams.rend(); ++stream) {
    for (std::uint64_t id = 1; id <= kRequests; ++id) {
      ASSERT_TRUE((*stream)->Read(&answer));
      ASSERT_EQ(answer.id(), id);
      ASSERT_EQ(answer.allocate().refs_size(), static_cast<int>(kBlocks));
    }
    EXPECT_TRUE((*stream)->Finish().ok());
  }
}

TEST_F(Exchange, SessionOfTheFirstRequestIsTheDefault) {
  const auto stream = open();
  ASSERT_TRUE(stream->Write(allocate(1, 64)));
  v1::ExchangeRequest without = allocate(2, 64);
  without.mutable_allocate()->clear_session();
  ASSERT_TRUE(stream->Write(without));
  v1::ExchangeResponse answer;
  ASSERT_TRUE(stream->Read(&answer));
  ASSERT_TRUE(stream->Read(&answer));
  EXPECT_EQ(answer.allocate().refs_size(), 1);
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(Exchange, RequestWithoutACallIsAnsweredWithAnError) {
  const auto stream = open();
  v1::ExchangeRequest empty;
  empty.set_id(9);
  ASSERT_TRUE(stream->Write(empty));
  v1::ExchangeResponse answer;
  ASSERT_TRUE(stream->Read(&answer));
  EXPECT_EQ(answer.id(), 9u);
  EXPECT_EQ(answer.error().reason(), v1::REASON_INVALID_OPTION);
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(Exchange, StreamThatBreaksWhileARequestWaitsLeavesNothingHeld) {
  v1::AllocateResponse big;
  ASSERT_TRUE(session_.allocate(session_.allocate_request(kAlmostAll), &big).ok());
  {
    grpc::ClientContext context;
    const auto stream = session_.stubs.blocks.Exchange(&context);
    ASSERT_TRUE(stream->Write(allocate(1, kAlmostAll, 1, kLongWaitMs)));
    ASSERT_TRUE(stream->Write(allocate(2, 256, 100)));
    EXPECT_TRUE(eventually([&] { return held_blocks() == 101; }));
    context.TryCancel();
    EXPECT_FALSE(stream->Finish().ok());
  }
  v1::FreeResponse freed;
  ASSERT_TRUE(session_.free(session_.free_request(big.refs()), &freed).ok());
  // What waited is served now, finds nobody, and is given back; the 100 behind it likewise.
  EXPECT_TRUE(eventually([&] { return held_blocks() == 0; })) << held_blocks();
  EXPECT_TRUE(session_.stubs.audit().exact());
}

TEST_F(Exchange, BytesThatAreNoRequestEndTheStreamWithAReason) {
  grpc::GenericStub generic(channel_to(daemon_));
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  const auto call = generic.PrepareCall(&context, "/arenad.v1.Blocks/Exchange", &queue);
  const auto step = [&] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  call->StartCall(nullptr);
  ASSERT_TRUE(step());
  const grpc::Slice slice("\xff\xff\xff\xff", 4);
  call->Write(grpc::ByteBuffer(&slice, 1), nullptr);
  ASSERT_TRUE(step());
  grpc::Status status;
  call->Finish(&status, nullptr);
  ASSERT_TRUE(step());
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_NE(status.error_message().find("ExchangeRequest"), std::string::npos);
}

}  // namespace
}  // namespace arenad::server
